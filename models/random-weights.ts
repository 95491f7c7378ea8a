import type { ModelConfig } from '../checkpoint/config.ts'
import { CheckpointError } from '../checkpoint/error.ts'
import type { Checkpoint } from '../checkpoint/open.ts'
import type { CheckpointFormat } from '../checkpoint/quantized.ts'
import type { HostTensor, TensorInfo } from '../checkpoint/tensor.ts'
import { type DType, dtypeBytes } from '../dsl/dtype.ts'
import { unitColumns, unitRows, unitWords } from '../dsl/format.ts'
import { bf16FromF32, f16FromF32 } from '../dsl/half.ts'
import { packedShape, type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import { bytesOf } from '../runtime/bytes.ts'
import { headProjection, layerProjections, type Projection } from './projections.ts'
import { uniform } from './uniform.ts'
import {
  headFormatOf,
  type ProjectionFormat,
  quantizedTensors,
  takesCodes,
  weightFormatOf,
} from './weights.ts'

/** Elements that are drawn of each kind. A prime, so that no two rows of a matrix are alike. */
const drawnElements = 262_139
/** Units of packed weights that are drawn. */
const drawnUnits = 61

/** Random values that tensors repeat, each from a place of its own. */
interface Block {
  readonly bytes: Uint8Array
  /** Bytes of an element, or of a unit of packed weights. */
  readonly step: number
}

interface RandomTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly block: () => Block
}

/**
 * A checkpoint of random weights that is nowhere on disk: the tensors that a model of that configuration and format has,
 * so small that activations stay near 1. The same seed gives the same weights; a model of 8 billion of them takes about
 * as long as copying them, for all repeat a few drawn values, each tensor from another place on.
 */
export function randomCheckpoint(config: ModelConfig, format: CheckpointFormat, seed = 1): Checkpoint {
  const folder = `random weights (seed ${seed})`
  const half = format.name === 'bf16' ? 'bf16' : 'f16'
  const blocks = new Blocks(half, seed)
  const table = new Map<string, RandomTensor>()
  const find = (name: string): RandomTensor => {
    const found = table.get(name)
    if (!found) throw new CheckpointError(`${folder}: there is no tensor ${name}`)
    return found
  }
  const readInto = (dst: Uint8Array, name: string, byteOffset = 0): void => {
    const { bytes, step } = find(name).block()
    const first = (hash(name, seed) % (bytes.length / step)) * step
    repeat(dst, bytes, (first + byteOffset) % bytes.length)
  }
  const info = (name: string): TensorInfo => {
    const { dtype, shape } = find(name)
    return { name, dtype, shape, byteLength: shape.reduce((a, b) => a * b, dtypeBytes[dtype]) }
  }
  const read = (name: string): HostTensor => {
    const { dtype, shape } = find(name)
    const bytes = new Uint8Array(info(name).byteLength)
    readInto(bytes, name)
    return { name, dtype, shape, bytes }
  }
  const checkpoint: Checkpoint = {
    folder,
    config,
    format,
    tensors: {
      get names() {
        return [...table.keys()]
      },
      has: (name) => table.has(name),
      info,
      read,
      readInto,
      close: () => {},
    },
    metadata: new Map(),
    generationConfig: undefined,
    close: () => {},
  }
  for (const tensors of [headTensors(checkpoint, blocks), layerTensors(checkpoint, blocks)])
    for (const [name, tensor] of tensors) table.set(name, tensor)
  return checkpoint
}

type NamedTensors = Generator<readonly [name: string, tensor: RandomTensor]>

/** What is there once: embeddings, the last norm and the output head. */
function* headTensors(checkpoint: Checkpoint, blocks: Blocks): NamedTensors {
  const { config } = checkpoint
  const { hiddenSize: H, vocabSize: V } = config
  const format = headFormatOf(checkpoint)
  yield ['model.embed_tokens.weight', blocks.halfs([V, H], 1)]
  yield ['model.norm.weight', blocks.halfs([H], 0.1, 1)]
  const head = headProjection(config)
  if (format !== 'w16')
    for (const [suffix, tensor] of quantizedTensorsOf(head, format, blocks))
      yield [`${head.path}.${quantizedTensors[suffix]}`, tensor]
  else if (!config.tieEmbeddings) yield ['lm_head.weight', blocks.halfs([V, H], 1 / Math.sqrt(H))]
}

function* layerTensors(checkpoint: Checkpoint, blocks: Blocks): NamedTensors {
  const { config } = checkpoint
  const { hiddenSize: H } = config
  const format = weightFormatOf(checkpoint)
  const { keyMean } = checkpoint.format.kv
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}.`
    for (const norm of ['input_layernorm', 'post_attention_layernorm'])
      yield [`${prefix}${norm}.weight`, blocks.halfs([H], 0.1, 1)]
    for (const norm of config.headNorm ? ['q_norm', 'k_norm'] : [])
      yield [`${prefix}self_attn.${norm}.weight`, blocks.halfs([config.headDim], 0.1, 1)]
    if (keyMean) yield [`${prefix}self_attn.key_mean`, blocks.halfs([config.kvHeads, config.headDim], 0.5)]
    for (const projection of Object.values(layerProjections(config)))
      if (format === 'w16')
        for (const { path, n } of projection.parts) {
          yield [`${prefix}${path}.weight`, blocks.halfs([n, projection.k], 1 / Math.sqrt(projection.k))]
          if (projection.bias) yield [`${prefix}${path}.bias`, blocks.halfs([n], 0.5)]
        }
      else {
        const at = `${prefix}${projection.path}.`
        for (const [suffix, tensor] of quantizedTensorsOf(projection, format, blocks))
          yield [at + quantizedTensors[suffix], tensor]
        if (projection.bias) yield [at + quantizedTensors.bias, blocks.halfs([projection.n], 0.5)]
      }
  }
}

function* quantizedTensorsOf(
  { n, k }: Projection,
  format: Exclude<ProjectionFormat, 'w16'>,
  blocks: Blocks,
): Generator<readonly ['w' | 'scale' | 'zero', RandomTensor]> {
  const f: WeightFormat = weightFormats[format]
  yield ['w', { dtype: 'u32', shape: packedShape(f, n, k), block: () => blocks.units(f, k) }]
  const scale = 1 / (codeDeviation(f) * Math.sqrt(k))
  if (takesCodes(format)) yield ['scale', { dtype: 'f16', shape: [n], block: () => blocks.scales(scale) }]
  if (format === 'w4a8') yield ['zero', { dtype: 'u8', shape: [n], block: () => blocks.zeros }]
}

/** Codes of 4 bits are uniform from 0 to 15, those of 8 from −127 to 127. */
const nibbleDeviation = Math.sqrt((16 ** 2 - 1) / 12)
const byteDeviation = Math.sqrt((255 ** 2 - 1) / 12)
/** Groups of two-level codes have scales from 5 to 15. */
const meanGroupScale = 10

/** The standard deviation of what a row's scale multiplies. */
const codeDeviation = (format: WeightFormat): number =>
  format.bits === 8 ? byteDeviation : nibbleDeviation * (format.group > 0 ? meanGroupScale : 1)

/** Blocks that are drawn when they are first asked for, each from a seed of its own. */
class Blocks {
  readonly half: 'f16' | 'bf16'
  readonly #seed: number
  readonly #drawn = new Map<string, Block>()

  constructor(half: 'f16' | 'bf16', seed: number) {
    this.half = half
    this.#seed = seed
  }

  /** A tensor of 16-bit floats of that distribution. */
  halfs(shape: readonly number[], deviation: number, mean = 0): RandomTensor {
    return { dtype: this.half, shape, block: () => this.#normal(deviation, mean) }
  }

  #normal(deviation: number, mean: number): Block {
    return this.#elements(`normal ${deviation} ${mean}`, (random) => {
      const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
      const values = Float32Array.from({ length: drawnElements }, () => mean + deviation * normal())
      return this.half === 'f16' ? f16FromF32(values) : bf16FromF32(values)
    })
  }

  scales(mean: number): Block {
    return this.#elements(`scales ${mean}`, (random) =>
      f16FromF32(Float32Array.from({ length: drawnElements }, () => mean * (0.75 + 0.5 * random()))),
    )
  }

  get zeros(): Block {
    return this.#elements('zeros', (random) =>
      Uint8Array.from({ length: drawnElements }, () => 7 + Math.floor(2 * random())),
    )
  }

  /** Packed units of a matrix of K columns; the K only scales weights whose groups have floating-point scales. */
  units(format: WeightFormat, K: number): Block {
    const step = 4 * unitWords(format)
    return this.#block(`units ${format.name} ${K}`, step, (random) =>
      format.pack(randomParts(format, K, random) as never, drawnUnits * unitRows, unitColumns),
    )
  }

  #elements(
    name: string,
    draw: (random: () => number) => ArrayBufferView & { readonly length: number },
  ): Block {
    return this.#block(name, 0, draw)
  }

  #block(
    name: string,
    step: number,
    draw: (random: () => number) => ArrayBufferView & { readonly length: number },
  ): Block {
    let block = this.#drawn.get(name)
    if (!block) {
      const drawn = draw(uniform(hash(name, this.#seed)))
      block = { bytes: bytesOf(drawn), step: step || drawn.byteLength / drawn.length }
      this.#drawn.set(name, block)
    }
    return block
  }
}

/** What a format packs, for a matrix of one unit's columns. */
function randomParts(format: WeightFormat, K: number, random: () => number): Record<string, unknown> {
  const integer = (low: number, high: number) => low + Math.floor((high - low + 1) * random())
  const length = drawnUnits * unitRows * unitColumns
  if (format.bits === 8) return { codes: Int8Array.from({ length }, () => integer(-127, 127)) }
  const codes = Uint8Array.from({ length }, () => integer(0, 15))
  if (format.group === 0) return { codes }
  const groups = length / format.group
  if (format.activations.includes('i8')) {
    const groupScale = Uint8Array.from({ length: groups }, () => integer(5, 2 * meanGroupScale - 5))
    return { codes, groupScale, groupMin: Int8Array.from(groupScale, (scale) => -Math.round(7.5 * scale)) }
  }
  const scale = 1 / (nibbleDeviation * Math.sqrt(K))
  return {
    codes,
    scale: f16FromF32(Float32Array.from({ length: groups }, () => scale * (0.75 + 0.5 * random()))),
    zero: Uint8Array.from({ length: groups }, () => integer(7, 8)),
  }
}

/** Fills `dst` with the block over and over, from a byte of it on. */
function repeat(dst: Uint8Array, block: Uint8Array, first: number): void {
  let at = 0
  for (let from = first; at < dst.length; from = 0) {
    const count = Math.min(block.length - from, dst.length - at)
    dst.set(block.subarray(from, from + count), at)
    at += count
  }
}

/** FNV-1a of a name, with a seed. */
function hash(name: string, seed: number): number {
  let value = (0x811c9dc5 ^ seed) >>> 0
  for (let i = 0; i < name.length; i++) value = Math.imul(value ^ name.charCodeAt(i), 0x01000193) >>> 0
  return value
}
