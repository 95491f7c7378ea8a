import type { DType } from '../dtype.ts'
import { laneIdx, load, shuffleXor, store, to } from '../intrinsics.ts'
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

/** Elements `n` and `n + 1` of a row of length `N`; past its end, the last elements stand in. */
export function loadPair<T extends number>(
  src: In<T, string, string> | InOut<T, string, string>,
  row: readonly i32[],
  n: i32,
  N: number,
): readonly [T, T] {
  if (N % 2 === 0) {
    const [first, second] = load(src, [...row, Math.min(n, N - 2)], 2)
    return [first!, second!]
  }
  return [src.at(...row, Math.min(n, N - 1)), src.at(...row, Math.min(n + 1, N - 1))]
}

/** As `loadPair`, of 16-bit or 32-bit floats widened to f32. */
export function loadFloatPair(
  src: In<number, string, string> | InOut<number, string, string>,
  row: readonly i32[],
  n: i32,
  N: number,
): readonly [f32, f32] {
  const [first, second] = loadPair(src, row, n, N)
  return [f32(first), f32(second)]
}

/** Rounds two values to `dtype` and stores them as elements `n` and `n + 1` of a row of length `N`, where they exist. */
export function storePair(
  dst: Out<number, string, string>,
  row: readonly i32[],
  n: i32,
  N: number,
  dtype: DType,
  values: readonly [f32, f32],
): void {
  const [first, second] = [to(dtype, values[0]), to(dtype, values[1])]
  if (N % 2 === 0) {
    if (n < N) store(dst, [...row, n], [first, second])
  } else {
    if (n < N) dst.put(first, ...row, n)
    if (n + 1 < N) dst.put(second, ...row, n + 1)
  }
}
