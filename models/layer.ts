import type { Checkpoint } from '../checkpoint/open.ts'
import { pagedAttention } from '../kernels/paged-attention.ts'
import { quantizeRows } from '../kernels/quantize-rows.ts'
import { rmsNorm, rmsNormQuantize } from '../kernels/rms-norm.ts'
import { ropeAppend } from '../kernels/rope-append.ts'
import { siluMul, siluMulQuantize } from '../kernels/silu-mul.ts'
import type { Device, Stream } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { Activations, ProductInput } from './activations.ts'
import type { KvCache } from './kv-cache.ts'
import { Linear } from './linear.ts'
import type { LayerProjections } from './projections.ts'
import { type ActivationType, type LinearWeights, loadHalf, loadProjection } from './weights.ts'

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
  readonly index: number
  readonly projections: LayerProjections
  readonly type: ActivationType
  readonly cache: KvCache
  readonly activations: Activations
  readonly cosSin: Tensor
}

/** What runs between two matrix products, by name: launches whose shape does not depend on the tokens but in `T`. */
type Between = Readonly<Record<string, Launch>>

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
  readonly #owned: readonly Tensor[]

  private constructor(stages: readonly Stage[], owned: readonly Tensor[]) {
    this.#stages = stages
    this.#owned = owned
  }

  static async load(parts: LayerParts): Promise<DecoderLayer> {
    const { device, checkpoint, index, projections, type, activations } = parts
    const { x, normed, qkv, oInput, gateUp, downInput } = activations
    const { hiddenSize: H } = checkpoint.config
    const prefix = `model.layers.${index}.`
    const norms = ['input_layernorm', 'post_attention_layernorm'].map((name) =>
      loadHalf(device, checkpoint, `${prefix}${name}.weight`, [H], type),
    )
    const weights = {
      qkv: loadProjection(device, checkpoint, index, projections.qkv, type),
      o: loadProjection(device, checkpoint, index, projections.o, type),
      gateUp: loadProjection(device, checkpoint, index, projections.gateUp, type),
      down: loadProjection(device, checkpoint, index, projections.down, type),
    }
    const product = (of: LinearWeights, input: ProductInput, out: Tensor, residual?: Tensor) =>
      new Linear(device, of, { type, input, out, residual })
    // At once, so that what is compiled is compiled at once.
    const [firstNorm, attention, secondNorm, silu] = await Promise.all([
      prepareNorm(parts, norms[0]!),
      prepareAttention(parts),
      prepareNorm(parts, norms[1]!),
      prepareSilu(parts),
    ])
    return new DecoderLayer(
      [
        { between: { norm: firstNorm }, name: 'qkv', product: product(weights.qkv, normed, qkv) },
        { between: attention, name: 'o', product: product(weights.o, oInput, x, x) },
        { between: { norm: secondNorm }, name: 'gate_up', product: product(weights.gateUp, normed, gateUp) },
        { between: { silu_mul: silu }, name: 'down', product: product(weights.down, downInput, x, x) },
      ],
      [...norms, ...Object.values(weights).flatMap(tensorsOf)],
    )
  }

  /** The launches for a step of that many tokens, in order. */
  async launches(tokens: number): Promise<StepLaunch[]> {
    const products = await Promise.all(this.#stages.map(({ product }) => product.launch(tokens)))
    return this.#stages.flatMap(({ between, name }, i) => [
      ...Object.entries(between).map(([each, launch]) => ({ name: each, launch, size: { T: tokens } })),
      { name, launch: products[i]!, size: { M: tokens } },
    ])
  }

  free(): void {
    for (const tensor of this.#owned) tensor.free()
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

async function prepareAttention(parts: LayerParts): Promise<Between> {
  const { device, checkpoint, index, type, cache, activations, cosSin } = parts
  const { heads: Hq, kvHeads: Hkv, headDim: D } = checkpoint.config
  const { qkv, q, positions, slots, sequences, pages, attended, oInput } = activations
  const shape = { dtype: type, D, Hq, Hkv, HqD: Hq * D, ...cache.constants }
  const pools = cache.layers[index]!
  const append = prepare(
    device,
    ropeAppend,
    { ...shape, QKV: (Hq + 2 * Hkv) * D },
    { qkv, positions, slots, cosSin, q, ...pools },
  )
  const attend = prepare(device, pagedAttention, shape, {
    q,
    sequence: sequences,
    positions,
    pages,
    scale: 1 / Math.sqrt(D),
    out: attended,
    ...pools,
  })
  const quantize =
    oInput instanceof Tensor
      ? undefined
      : prepare(device, quantizeRows, { dtype: type, H: Hq * D }, { x: attended, ...oInput })
  const [first, second, third] = await Promise.all([append, attend, quantize])
  return { append: first, attention: second, ...(third && { quantize: third }) }
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
