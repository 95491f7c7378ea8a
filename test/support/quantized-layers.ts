import type { ModelConfig } from '../../checkpoint/config.ts'
import { ropeTable } from '../../models/rope.ts'
import type { Compute, Mat, Values } from '../../quantize/compute/compute.ts'
import { type ForwardOptions, forwardLayer, withRounded } from '../../quantize/forward.ts'
import type {
  EmbeddingState,
  HeadState,
  LayerState,
  ProjectionName,
  StackFormat,
  StackName,
  Statistics,
} from '../../quantize/layer-state.ts'
import type { Pass } from '../../quantize/passes/pass.ts'
import { LayerStatistics } from '../../quantize/statistics.ts'
import { modelConfig } from './model-config.ts'
import { rng } from './rng.ts'

export interface RandomModelOptions {
  readonly seed: number
  readonly config?: Partial<ModelConfig>
  readonly format?: StackFormat
  readonly kvBits?: 4 | 8 | 16
  readonly window?: number
  readonly windows?: number
}

/** A model of random weights as the quantizer sees it, with states of layers whose statistics are computed on demand. */
export interface RandomModel {
  readonly compute: Compute
  readonly embedding: EmbeddingState
  readonly layers: readonly LayerState[]
  readonly head: HeadState
  readonly ids: Int32Array
  readonly window: number
}

/** Outlier channels: one column in eleven is louder by so much. */
const LOUD = 8

export async function randomModel(compute: Compute, options: RandomModelOptions): Promise<RandomModel> {
  const { normal, integer } = rng(options.seed)
  const { window = 12, windows = 3, format = 'w4a8', kvBits = 16 } = options
  const config = modelConfig({
    hiddenSize: 32,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
    intermediateSize: 48,
    vocabSize: 50,
    rope: { theta: 100, columns: 16, scaling: undefined },
    ...options.config,
  })
  const { hiddenSize: H, heads, kvHeads, headDim: D, intermediateSize: I, vocabSize: V } = config
  const random = (rows: number, columns: number, scale: number): Mat =>
    compute.from(
      Float64Array.from({ length: rows * columns }, () => normal() * scale),
      rows,
      columns,
    )
  const gain = (n: number): Mat =>
    compute.from(
      Float64Array.from({ length: n }, (_, i) => (1 + 0.3 * normal()) * (i % 11 === 3 ? LOUD : 1)),
      1,
      n,
    )
  const table = random(V, H, 1)
  const ids = Int32Array.from({ length: window * windows }, () => integer(0, V - 1))
  const cosSin = compute.from(ropeTable(config, window), window, config.rope.columns)
  const layers: LayerState[] = []
  for (let index = 0; index < config.layers; index++) {
    const matrix = (n: number, k: number): Mat => random(n, k, 1 / Math.sqrt(k))
    const weights: Record<ProjectionName, Mat> = {
      q: matrix(heads * D, H),
      k: matrix(kvHeads * D, H),
      v: matrix(kvHeads * D, H),
      o: matrix(H, heads * D),
      gate: matrix(I, H),
      up: matrix(I, H),
      down: matrix(H, I),
    }
    const layer: Omit<LayerState, 'statistics' | 'inputs'> = {
      ...{ compute, config, index, weights, window, cosSin },
      biases: config.attentionBias
        ? { q: random(1, heads * D, 1), k: random(1, kvHeads * D, 1), v: random(1, kvHeads * D, 1) }
        : {},
      norms: {
        attention: gain(H),
        mlp: gain(H),
        ...(config.headNorm && { query: gain(D), key: gain(D) }),
      },
      keys: { hadamard: false },
      kv: { bits: kvBits },
      formats: Object.fromEntries(
        (['qkv', 'o', 'gateUp', 'down'] as const).map((stack) => [stack, format]),
      ) as Record<StackName, StackFormat>,
      ratios: {},
      rounded: {},
    }
    layers.push(Object.assign(layer, { inputs: table, statistics: undefined as never }) as LayerState)
  }
  const head = { compute, config, norm: gain(H), weight: random(V, H, 1 / Math.sqrt(H)) }
  return { compute, embedding: { compute, config, table }, layers, head, ids, window }
}

/** Applies passes in turn as a run does: to the embedding, to each layer on the inputs that it then has, to the head. */
export async function applyPasses(
  model: RandomModel,
  steps: readonly (readonly [Pass<never> | Pass, object?])[],
): Promise<Record<string, number | string>> {
  const recorded: Record<string, number | string> = {}
  const each = async (
    visit: (pass: Pass, options: unknown, run: Parameters<Pass['layer'] & object>[2]) => unknown,
  ) => {
    for (const [i, [pass, options]] of steps.entries()) {
      const known = pass as Pass
      const record = (what: string, value: number | string): void => {
        recorded[`${known.name} ${what}`] = value
      }
      await visit(known, known.options.parse(options ?? {}), { seed: 1000 + i, record })
    }
  }
  await each((pass, options, run) => pass.embedding?.(model.embedding, options, run))
  const [x, floats] = [await embedded(model), await embedded(model)]
  for (const layer of model.layers) {
    const inputs = await copyOf(model.compute, x)
    const floatInputs = await copyOf(model.compute, floats)
    Object.assign(layer, { inputs, floatInputs })
    Object.assign(layer, { statistics: statisticsOf(layer) })
    await each((pass, options, run) => pass.layer?.(layer, options, run))
    await forwardLayer(floats, layer)
    await forwardLayer(x, withRounded(layer), { fakeActivations: true, fakeKv: true })
  }
  await each((pass, options, run) => pass.head?.(model.head, options, run))
  return recorded
}

/** Logits of the model's own ids, [tokens · vocabulary]; with what passes rounded, and as kernels round the rest. */
export const roundedLogitsOf = (model: RandomModel): Promise<Values> =>
  logitsOf(
    { ...model, layers: model.layers.map((layer) => ({ ...layer, ...withRounded(layer) })) },
    {
      fakeActivations: true,
      fakeKv: true,
    },
  )

/** Logits of the model's own ids, [tokens · vocabulary]. */
export async function logitsOf(model: RandomModel, options: ForwardOptions = {}): Promise<Values> {
  const { compute, head } = model
  const x = await embedded(model)
  for (const layer of model.layers) await forwardLayer(x, layer, options)
  await compute.rmsNorm(x, x, head.norm, head.config.normEpsilon)
  const logits = compute.allocate(x.rows, head.weight.rows)
  await compute.multiply(logits, x, head.weight, { transposeB: true })
  return compute.read(logits)
}

/** The greatest difference relative to the greatest magnitude. */
export function relativeError(actual: Values, expected: Values): number {
  let [worst, greatest] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!))
    greatest = Math.max(greatest, Math.abs(expected[i]!))
  }
  return worst / greatest
}

async function embedded({ compute, embedding, ids }: RandomModel): Promise<Mat> {
  const x = compute.allocate(ids.length, embedding.config.hiddenSize)
  await compute.embed(x, embedding.table, ids)
  return x
}

async function copyOf(compute: Compute, src: Mat): Promise<Mat> {
  const dst = compute.allocate(src.rows, src.columns)
  await compute.copy(dst, src)
  return dst
}

/** The statistics that a run computes. */
const statisticsOf = (layer: LayerState): Statistics =>
  new LayerStatistics(layer, { pieceTokens: 2 * layer.window, weighting: 'uniform' })
