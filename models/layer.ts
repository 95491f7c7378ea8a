import type { Checkpoint } from '../checkpoint/open.ts'
import { embedTokens } from '../kernels/embed-tokens.ts'
import { quantizeRows } from '../kernels/quantize-rows.ts'
import { rmsNorm, rmsNormQuantize } from '../kernels/rms-norm.ts'
import { ropeAppend } from '../kernels/rope-append.ts'
import { siluMul, siluMulQuantize } from '../kernels/silu-mul.ts'
import type { Device, Stream } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { Activations, ProductInput } from './activations.ts'
import type { Attention } from './attention.ts'
import type { KvCache } from './kv-cache.ts'
import { Linear } from './linear.ts'
import type { LayerProjections } from './projections.ts'
import type { StepKind } from './step.ts'
import type { WeightLoader } from './weight-loader.ts'
import type { ActivationType, LinearWeights } from './weights.ts'

/** A launch of a step and the extent of the shape word that counts its rows. */
export interface StepLaunch {
  /** What it does in the step: `norm`, `qkv`, `attention`, …; the same in every layer. */
  readonly name: string
  readonly launch: Launch
  readonly size: Readonly<Record<string, number>>
}

/** Runs a launch on as many rows as the step has, packing its arguments anew only where that number changes. */
export function runStepLaunch({ launch, size }: StepLaunch, stream?: Stream): void {
  const [word, extent] = Object.entries(size)[0]!
  if (launch.dims[word] !== extent) launch.resize(size)
  launch.run(stream)
}

interface LayerParts {
  readonly device: Device
  readonly checkpoint: Checkpoint
  readonly weights: WeightLoader
  readonly index: number
  readonly projections: LayerProjections
  readonly type: ActivationType
  readonly cache: KvCache
  readonly activations: Activations
  readonly attention: Attention
  readonly cosSin: Tensor
}

/** What runs between two matrix products, for so many tokens. */
type Between = (tokens: number, kind: StepKind) => Promise<readonly StepLaunch[]> | readonly StepLaunch[]

/** The stages behind attention, of the tokens alone whose logits are wanted. */
interface LastStages {
  /** Moves what they read to the front. */
  readonly gather: (rows: number) => readonly StepLaunch[]
  readonly stages: readonly Stage[]
}

/** What comes before a matrix product, and the product. */
interface Stage {
  readonly between: Between
  readonly name: string
  readonly product: Linear
}

/**
 * One decoder layer: ten launches, or nine where activations are not quantized.
 *
 *   norm → qkv → rope + append → attention → (quantize) → o + residual → norm → gate-up → silu·mul → down + residual
 */
export class DecoderLayer {
  readonly #stages: readonly Stage[]
  readonly #append: Between
  readonly #attend: Between
  /** Of the last layer. */
  readonly #last: LastStages | undefined
  readonly #owned: readonly Tensor[]

  private constructor(
    stages: readonly Stage[],
    append: Between,
    attend: Between,
    last: LastStages | undefined,
    owned: readonly Tensor[],
  ) {
    this.#stages = stages
    this.#append = append
    this.#attend = attend
    this.#last = last
    this.#owned = owned
  }

  static async load(parts: LayerParts): Promise<DecoderLayer> {
    const { device, checkpoint, index, projections, type, activations } = parts
    const { x, normed, qkv, oInput, gateUp, downInput } = activations
    const { hiddenSize: H } = checkpoint.config
    const prefix = `model.layers.${index}.`
    const loader = parts.weights
    const norms = [
      await loader.half(`${prefix}input_layernorm.weight`, [H]),
      await loader.half(`${prefix}post_attention_layernorm.weight`, [H]),
    ]
    const weights = {
      qkv: await loader.projection(index, projections.qkv),
      o: await loader.projection(index, projections.o),
      gateUp: await loader.projection(index, projections.gateUp),
      down: await loader.projection(index, projections.down),
    }
    const product = (of: LinearWeights, input: ProductInput, out: Tensor, residual?: Tensor) =>
      new Linear(device, of, { type, input, out, residual })
    // At once, so that what is compiled is compiled at once.
    const [firstNorm, append, quantize, secondNorm, silu] = await Promise.all([
      prepareNorm(parts, norms[0]!),
      prepareAppend(parts),
      prepareQuantize(parts),
      prepareNorm(parts, norms[1]!),
      prepareSilu(parts),
    ])
    const attend: Between = (tokens, kind) => parts.attention.layerLaunches(index, tokens, kind)
    const beforeO: Between = async (tokens, kind) => [
      ...(await onTokens('append', append.launch)(tokens, kind)),
      ...(await attend(tokens, kind)),
      ...(quantize ? await onTokens('quantize', quantize)(tokens, kind) : []),
    ]
    const behindO: readonly Stage[] = [
      {
        between: onTokens('norm', secondNorm),
        name: 'gate_up',
        product: product(weights.gateUp, normed, gateUp),
      },
      { between: onTokens('silu_mul', silu), name: 'down', product: product(weights.down, downInput, x, x) },
    ]
    return new DecoderLayer(
      [
        { between: onTokens('norm', firstNorm), name: 'qkv', product: product(weights.qkv, normed, qkv) },
        { between: beforeO, name: 'o', product: product(weights.o, oInput, x, x) },
        ...behindO,
      ],
      onTokens('append', append.launch),
      attend,
      index === checkpoint.config.layers - 1 ? await prepareLast(parts, weights.o, behindO) : undefined,
      [...norms, ...append.owned, ...Object.values(weights).flatMap(tensorsOf)],
    )
  }

  /**
   * The launches for a step of that many tokens, in order. Where only `rows` of them are wanted of the last layer, the others
   * go no further than the cache; those that are wanted are then the first.
   */
  async launches(tokens: number, kind: StepKind, rows = tokens): Promise<StepLaunch[]> {
    if (rows === tokens || !this.#last) return launchesOf(this.#stages, tokens, kind)
    const appended = [
      ...(await launchesOf(this.#stages.slice(0, 1), tokens, kind)),
      ...(await this.#append(tokens, kind)),
    ]
    if (rows === 0) return appended
    return [
      ...appended,
      ...(await this.#attend(tokens, kind)),
      ...this.#last.gather(rows),
      ...(await launchesOf(this.#last.stages, rows, kind)),
    ]
  }

  free(): void {
    for (const tensor of this.#owned) tensor.free()
  }
}

async function launchesOf(stages: readonly Stage[], tokens: number, kind: StepKind): Promise<StepLaunch[]> {
  const launches = await Promise.all(
    stages.map(async ({ between, name, product }) => [
      ...(await between(tokens, kind)),
      { name, launch: await product.launch(tokens), size: { M: tokens } },
    ]),
  )
  return launches.flat()
}

/** A launch whose shape depends on the number of tokens alone. */
const onTokens =
  (name: string, launch: Launch): Between =>
  (tokens) => [{ name, launch, size: { T: tokens } }]

/**
 * What the last layer does of the rows whose logits are wanted: what attention gives for them moves to the front of the
 * queries, which are of no more use, and the residual stream into the hidden states, from where it comes back with o.
 */
async function prepareLast(
  { device, type, activations }: LayerParts,
  o: LinearWeights,
  behindO: readonly Stage[],
): Promise<LastStages> {
  const { logitRows, attended, q, x, hidden, oInput } = activations
  const [tokens, width] = attended.shape as [number, number]
  const most = Math.min(tokens, logitRows.length)
  const ids = logitRows.slice(0, most)
  const gathered = q.slice(0, most)
  // The rows of a table, which the embeddings are and any other matrix is, too.
  const gather = (table: Tensor, out: Tensor) =>
    prepare(device, embedTokens, { dtype: type, V: tokens, H: table.shape[1]! }, { ids, table, out })
  const [ofAttended, ofX, quantize] = await Promise.all([
    gather(attended, gathered),
    gather(x, hidden.slice(0, most)),
    oInput instanceof Tensor
      ? undefined
      : prepare(device, quantizeRows, { dtype: type, H: width }, { x: q, ...oInput }),
  ])
  const first = (tensor: Tensor) => tensor.slice(0, most)
  const input =
    oInput instanceof Tensor
      ? gathered
      : { q: first(oInput.q), scale: first(oInput.scale), sum: first(oInput.sum) }
  return {
    gather: (rows) => [
      { name: 'gather', launch: ofAttended, size: { T: rows } },
      { name: 'gather', launch: ofX, size: { T: rows } },
    ],
    stages: [
      {
        between: quantize ? onTokens('quantize', quantize) : () => [],
        name: 'o',
        product: new Linear(device, o, { type, input, out: first(x), residual: first(hidden) }),
      },
      ...behindO,
    ],
  }
}

const tensorsOf = (weights: LinearWeights): Tensor[] =>
  [weights.w, weights.scale, weights.zero, weights.bias].filter((tensor) => tensor !== undefined)

function prepareNorm(parts: LayerParts, gamma: Tensor): Promise<Launch> {
  const { device, checkpoint, type, activations } = parts
  const { hiddenSize: H, normEpsilon: eps } = checkpoint.config
  const { x, normed } = activations
  return normed instanceof Tensor
    ? prepare(device, rmsNorm, { dtype: type, H }, { x, gamma, eps, out: normed })
    : prepare(device, rmsNormQuantize, { dtype: type, H }, { x, gamma, eps, ...normed })
}

/** The append, and the tensors of the layer that it reads. */
async function prepareAppend(parts: LayerParts): Promise<{ launch: Launch; owned: readonly Tensor[] }> {
  const { device, checkpoint, weights, index, type, cache, activations, cosSin } = parts
  const { config, format } = checkpoint
  const { heads: Hq, kvHeads: Hkv, headDim: D } = config
  const { qkv, positions, slots, q } = activations
  const prefix = `model.layers.${index}.self_attn.`
  const { keyMean, keyHadamard, clip } = format.kv
  const extra = {
    ...(config.headNorm && {
      qNorm: await weights.half(`${prefix}q_norm.weight`, [D]),
      kNorm: await weights.half(`${prefix}k_norm.weight`, [D]),
    }),
    ...(keyMean && { keyMean: weights.floats(`${prefix}key_mean`, [Hkv, D]) }),
  }
  const constants = {
    ...{ dtype: type, D, R: config.rope.columns, Hq, Hkv, HqD: Hq * D, QKV: (Hq + 2 * Hkv) * D },
    ...cache.constants,
    ...(config.headNorm && { qNorm: true, kNorm: true, normEpsilon: config.normEpsilon }),
    ...(keyHadamard && { hadamard: true }),
    ...(keyMean && { keyMean }),
    ...(clip !== undefined && { kvClip: clip }),
  }
  const args = { qkv, positions, slots, cosSin, q, ...cache.layers[index]!, ...extra }
  return { launch: await prepare(device, ropeAppend, constants, args), owned: Object.values(extra) }
}

/** Quantizes what attention gives, where the next product takes codes. */
function prepareQuantize({ device, checkpoint, type, activations }: LayerParts): Promise<Launch> | undefined {
  const { attended, oInput } = activations
  const { heads, headDim } = checkpoint.config
  return oInput instanceof Tensor
    ? undefined
    : prepare(device, quantizeRows, { dtype: type, H: heads * headDim }, { x: attended, ...oInput })
}

function prepareSilu(parts: LayerParts): Promise<Launch> {
  const { device, checkpoint, type, activations } = parts
  const { intermediateSize: I } = checkpoint.config
  const { gateUp, downInput } = activations
  const x = gateUp.reshape([gateUp.shape[0]!, 2, I])
  return downInput instanceof Tensor
    ? prepare(device, siluMul, { dtype: type, I }, { x, out: downInput })
    : prepare(device, siluMulQuantize, { dtype: type, I }, { x, ...downInput })
}
