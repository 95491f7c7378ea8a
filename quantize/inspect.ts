import type { Checkpoint } from '../checkpoint/open.ts'
import type { QuantizedMatrix } from '../checkpoint/quantized-matrix.ts'
import { f16Value } from '../dsl/half.ts'
import { headProjection, layerProjections, type Projection } from '../models/projections.ts'
import { headFormatOf, productFormatOf, quantizedTensors } from '../models/weights.ts'
import { layerPrefix } from './load-layer.ts'
import { readQuantized } from './reference.ts'
import type { QuantizedFormatName } from './round-to-nearest.ts'

/** What a stored product holds. */
export interface ProductFacts {
  /** Where its tensors are: `model.layers.3.mlp.down_proj`. */
  readonly path: string
  readonly format: QuantizedFormatName
  readonly rows: number
  readonly columns: number
  readonly bytes: number
  /** How many weights have each code: 16 numbers for 4 bits, 256 for 8, from −128 on. */
  readonly histogram: readonly number[]
  /** The least and the greatest f16 scale. */
  readonly scale: readonly [number, number]
  /** Of two-level formats: the range of group scales, and that of the bytes that codes stand for. */
  readonly twoLevel?: {
    readonly groupScale: readonly [number, number]
    readonly byte: readonly [number, number]
  }
  /** What kernels would get wrong; empty in a sound product. */
  readonly faults: readonly string[]
}

/** Group scales end here, so that code · scale stays in a byte; 17 occurs in checkpoints of other programs. */
const largestGroupScale = 17

/**
 * The quantized products of a checkpoint, its head included; none of one in floats. `onProgress` is called after each.
 * Throws `CheckpointError`.
 */
export function inspectProducts(
  src: Checkpoint,
  onProgress: (done: number, total: number) => void = () => {},
): ProductFacts[] {
  if (src.format.weights.bits >= 16) return []
  const products: (readonly [string, Projection, QuantizedFormatName])[] = []
  for (let index = 0; index < src.config.layers; index++)
    for (const projection of Object.values(layerProjections(src.config)) as Projection[]) {
      const path = layerPrefix(index) + projection.path
      products.push([path, projection, productFormatOf(src, path) as QuantizedFormatName])
    }
  const head = headProjection(src.config)
  if (src.format.head) products.push([head.path, head, headFormatOf(src) as QuantizedFormatName])
  return products.map(([path, projection, format], i) => {
    const bytes = Object.values(quantizedTensors)
      .map((suffix) => `${path}.${suffix}`)
      .filter((name) => src.tensors.has(name))
      .reduce((sum, name) => sum + src.tensors.info(name).byteLength, 0)
    const facts = { path, format, bytes, ...matrixFacts(readQuantized(src, path, projection, format)) }
    onProgress(i + 1, products.length)
    return facts
  })
}

/** What can be said of codes and scales alone. */
export function matrixFacts(matrix: QuantizedMatrix): Omit<ProductFacts, 'path' | 'format' | 'bytes'> {
  const { rows, columns, codes, scale, zero, groupScale, groupMin } = matrix
  const isSigned = codes instanceof Int8Array
  const histogram = new Array<number>(isSigned ? 256 : 16).fill(0)
  for (let i = 0; i < codes.length; i++) histogram[isSigned ? codes[i]! + 128 : codes[i]!]!++
  const faults: string[] = []
  const scales = rangeOf(Float64Array.from(scale, f16Value))
  if (!(scales[0] > 0) || !Number.isFinite(scales[1]))
    faults.push(`scales lie from ${scales[0]} to ${scales[1]}, and must be positive and finite`)
  if (zero && rangeOf(zero)[1] > 15) faults.push(`a zero point is ${rangeOf(zero)[1]}, and codes end at 15`)
  const twoLevel = groupScale &&
    groupMin && { groupScale: rangeOf(groupScale), byte: byteRange(codes, groupScale, groupMin) }
  if (twoLevel) {
    const { groupScale: steps, byte } = twoLevel
    if (steps[0] < 1 || steps[1] > largestGroupScale)
      faults.push(
        `group scales lie from ${steps[0]} to ${steps[1]}, and must lie from 1 to ${largestGroupScale}`,
      )
    if (byte[0] < -128 || byte[1] > 127)
      faults.push(`codes stand for ${byte[0]} to ${byte[1]}, which leaves the signed byte from -128 to 127`)
  }
  return { rows, columns, histogram, scale: scales, ...(twoLevel && { twoLevel }), faults }
}

function rangeOf(values: ArrayLike<number>): [number, number] {
  let [low, high] = [values[0]!, values[0]!]
  for (let i = 1; i < values.length; i++) {
    low = Math.min(low, values[i]!)
    high = Math.max(high, values[i]!)
  }
  return [low, high]
}

/** The range of code · scale + minimum over all weights. */
function byteRange(
  codes: Uint8Array | Int8Array,
  groupScale: Uint8Array,
  groupMin: Int8Array,
): [number, number] {
  const group = codes.length / groupScale.length
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let g = 0; g < groupScale.length; g++) {
    const [least, most] = rangeOf(codes.subarray(g * group, (g + 1) * group))
    low = Math.min(low, least * groupScale[g]! + groupMin[g]!)
    high = Math.max(high, most * groupScale[g]! + groupMin[g]!)
  }
  return [low, high]
}
