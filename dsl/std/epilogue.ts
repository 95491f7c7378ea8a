import { laneIdx, load, shuffleXor, store } from '../intrinsics.ts'
import { f32, type i32 } from '../scalars.ts'
import type { In, InOut, Out } from '../tensor.ts'

/** The token, from 0 to 7, of the calling lane's `featurePairs`. */
export const pairToken = (): i32 => (laneIdx & 3) * 2 + ((laneIdx >>> 2) & 1)

/** The features, from 0 to 15, of the first value of each of the calling lane's `featurePairs`: even numbers. */
export const pairFeatures = (): readonly [i32, i32] => {
  const first = (laneIdx >>> 2) & 6
  return [first, first + 8]
}

/**
 * The accumulators of an `m16n8` tile of D = W·Xᵀ, exchanged so that a lane holds two pairs of neighbouring features
 * of one token.
 *
 * The MMA leaves a lane with two tokens of one feature, while the output has a token's features side by side. Lanes
 * that hold neighbouring features trade one value each: half the stores, each twice as wide, and one token a lane.
 */
export function featurePairs<T extends number>(acc: readonly T[]): readonly (readonly [T, T])[] {
  const odd = ((laneIdx >>> 2) & 1) === 1
  return [0, 2].map((half) => {
    const [first, second] = [acc[half]!, acc[half + 1]!]
    const received = shuffleXor(odd ? first : second, 4)
    return [odd ? received : first, odd ? second : received]
  })
}

/** A row of a matrix that a CTA reads or writes in pairs of elements. */
export interface PairedRow {
  readonly length: number
  /** Whether every pair asked for lies in the row, so that none needs a mask. */
  readonly covered: boolean
}

/** Elements `n` (even) and `n + 1` of a row; past its end, the last elements stand in. */
export function loadPair<T extends number>(
  src: In<T, string, string> | InOut<T, string, string>,
  index: readonly i32[],
  n: i32,
  row: PairedRow,
): readonly [T, T] {
  if (row.length % 2 === 0) {
    const [first, second] = load(src, [...index, row.covered ? n : Math.min(n, row.length - 2)], 2)
    return [first!, second!]
  }
  const last = row.length - 1
  return [src.at(...index, Math.min(n, last)), src.at(...index, Math.min(n + 1, last))]
}

/** As `loadPair`, of 16-bit or 32-bit floats widened to f32. */
export function loadFloatPair(
  src: In<number, string, string> | InOut<number, string, string>,
  index: readonly i32[],
  n: i32,
  row: PairedRow,
): readonly [f32, f32] {
  const [first, second] = loadPair(src, index, n, row)
  return [f32(first), f32(second)]
}

/** Stores elements `n` (even) and `n + 1` of a row, where they exist. */
export function putPair<T extends number>(
  dst: Out<T, string, string>,
  index: readonly i32[],
  n: i32,
  row: PairedRow,
  [first, second]: readonly [T, T],
): void {
  if (row.length % 2 === 0) {
    if (row.covered || n < row.length) store(dst, [...index, n], [first, second])
  } else {
    if (n < row.length) dst.put(first, ...index, n)
    if (n + 1 < row.length) dst.put(second, ...index, n + 1)
  }
}
