import { fmaF32 } from '../dsl/exact-reference.ts'
import {
  HEAD_LANES,
  type HeadShape,
  hadamardBits,
  pairColumns,
  pairsPerLane,
  runColumns,
} from './head-share.ts'

/** What happens to a head's vector of queries or keys before it is rounded or encoded. */
export interface HeadTransform extends HeadShape {
  /** R/2 cosines of the token's position, then as many sines. */
  readonly cosSin: Float32Array
  /** Normalization: the weights of the head's columns, and what is added to the mean square. */
  readonly norm?: { readonly weights: Float64Array; readonly epsilon: number }
  readonly hadamard?: boolean
  /** What is subtracted at the end. */
  readonly mean?: Float32Array
}

const { fround } = Math

/** One head's query or key on the host, bit for bit what the kernel makes of it. */
export function transformHead(x: Float64Array, t: HeadTransform): Float64Array {
  let y = t.norm ? normalize(x, t.norm.weights, t.norm.epsilon, t) : x
  y = rotate(y, t)
  if (t.hadamard) y = hadamardReference(y, t)
  return t.mean ? y.map((value, i) => fround(value - t.mean![i]!)) : y
}

/** Rotate-half of the first R columns. */
function rotate(x: Float64Array, { R, cosSin }: HeadTransform): Float64Array {
  const half = R / 2
  return x.map((value, i) => {
    if (i >= R) return value
    const [cos, sin] = [cosSin[i % half]!, cosSin[half + (i % half)]!]
    const partner = i < half ? -x[i + half]! : x[i - half]!
    return fround(fround(value * cos) + fround(partner * sin))
  })
}

function normalize(x: Float64Array, weights: Float64Array, epsilon: number, shape: HeadShape): Float64Array {
  const { D } = shape
  const run = runColumns(D)
  const lanes = Array.from({ length: HEAD_LANES }, (_, lane) => {
    let total = 0
    for (let p = 0; p < pairsPerLane(D); p++) {
      const index = lane + p * HEAD_LANES
      const columns = pairColumns(shape, index).flatMap((first) =>
        Array.from({ length: run }, (_, i) => first + i),
      )
      const sum = index * 2 * run < D ? columns.reduce((all, i) => fmaF32(x[i]!, x[i]!, all), 0) : 0
      total = p === 0 ? sum : fround(total + sum)
    }
    return total
  })
  // The order of `warpSum`.
  for (const step of [4, 2, 1])
    for (let lane = 0; lane < step; lane++) lanes[lane] = fround(lanes[lane]! + lanes[lane + step]!)
  const mean = fround(fround(lanes[0]! * fround(1 / D)) + fround(epsilon))
  const factor = fround(1 / fround(Math.sqrt(mean)))
  return x.map((value, i) => fround(fround(value * factor) * weights[i]!))
}

/** The normalised Hadamard transform, with the roundings of the kernel. */
export function hadamardReference(x: Float64Array, shape: HeadShape): Float64Array {
  const y = x.slice()
  for (const bit of hadamardBits(shape)) {
    const stride = 2 ** bit
    for (let i = 0; i < y.length; i++) {
      if ((i & stride) !== 0) continue
      const [low, high] = [y[i]!, y[i + stride]!]
      y[i] = fround(low + high)
      y[i + stride] = fround(low - high)
    }
  }
  const norm = fround(1 / Math.sqrt(y.length))
  return y.map((value) => fround(value * norm))
}
