import type { ModelConfig } from '../../checkpoint/config.ts'
import { dtypeBytes } from '../../dsl/dtype.ts'
import { packedShape, type WeightFormat, weightFormats } from '../../kernels/formats/index.ts'
import { type KvFormatName, kvFormats } from '../../kernels/formats/kv.ts'
import { headProjection, layerProjections, type Projection } from '../../models/projections.ts'
import { type ProjectionFormat, takesCodes } from '../../models/weights.ts'
import type { Work } from '../../runtime/tune/roofline.ts'

/** A decode step: what its launches must move and compute follows from it. */
export interface StepShape {
  readonly config: ModelConfig
  readonly weights: ProjectionFormat
  /** Of the output head. */
  readonly head: ProjectionFormat
  readonly kv: KvFormatName
  /** Sequences, with one token each. */
  readonly batch: number
  /** Tokens that all sequences together attend to. */
  readonly contextTokens: number
  /** Bytes of a logit. */
  readonly logitBytes: number
}

/** Bytes of an activation of 16 bits. */
const half = 2

/**
 * What one launch of each name must move and compute at least: each input read once and each output written once, none of
 * it kept in a cache. Names that are not here move next to nothing.
 */
export function stepWork(shape: StepShape): Readonly<Record<string, Work>> {
  const { config, weights, batch: T } = shape
  const { hiddenSize: H, intermediateSize: I, vocabSize: V, heads, headDim: D } = config
  const { qkv, o, gateUp, down } = layerProjections(config)
  const width = heads * D
  /** A row of a product's input: codes with scale and sum, or halves. */
  const input = (columns: number, format = weights) => (takesCodes(format) ? columns + 8 : half * columns)
  const moving = (bytes: number): Work => ({ bytes, ops: 0, unit: 'f16' })
  const product = (
    { n, k }: Pick<Projection, 'n' | 'k'>,
    format: ProjectionFormat,
    outBytes: number,
  ): Work => ({
    bytes: weightBytes(format, n, k) + T * (input(k, format) + n * outBytes),
    ops: 2 * T * n * k,
    unit: takesCodes(format) ? 'int8' : 'f16',
  })
  return {
    embed: moving(T * (2 * H * half + 4)),
    norm: moving(T * (H * half + input(H)) + H * half),
    qkv: product(qkv, weights, half),
    append: moving(T * half * (qkv.n + width) + T * cacheTokenBytes(shape)),
    attention: {
      bytes: 2 * T * width * half + shape.contextTokens * cacheTokenBytes(shape),
      ops: 4 * shape.contextTokens * width,
      unit: kvFormats[shape.kv].bits < 16 ? 'int8' : 'f16',
    },
    quantize: moving(T * (width * half + input(width))),
    // The residual is read and written.
    o: product(o, weights, 2 * half),
    gate_up: product(gateUp, weights, half),
    silu_mul: moving(T * (2 * I * half + input(I))),
    down: product(down, weights, 2 * half),
    final_norm: moving(T * 2 * H * half + H * half),
    lm_head: product(headProjection(config), shape.head, shape.logitBytes),
    quantize_head: moving(T * (H * half + H + 8)),
    sample: moving(T * V * shape.logitBytes),
  }
}

/** Bytes of the key and the value of a token in the cache of one layer. */
function cacheTokenBytes({ config, kv }: Pick<StepShape, 'config' | 'kv'>): number {
  const { bits } = kvFormats[kv]
  return 2 * config.kvHeads * ((config.headDim * bits) / 8 + (bits < 16 ? 2 * half : 0))
}

/** Bytes of a product's weights with what belongs to their rows. */
function weightBytes(format: ProjectionFormat, n: number, k: number): number {
  const f: WeightFormat = weightFormats[format]
  const packed = packedShape(f, n, k).reduce((a, b) => a * b, dtypeBytes.u32)
  return packed + (takesCodes(format) ? n * half : 0) + (format === 'w4a8' ? n : 0)
}
