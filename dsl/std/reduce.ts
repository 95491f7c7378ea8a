import type { DType } from '../dtype.ts'
import {
  barrier,
  blockDim,
  laneIdx,
  load,
  reduxAdd,
  reduxMax,
  shared,
  shuffleUp,
  shuffleXor,
  unroll,
  warpIdx,
} from '../intrinsics.ts'
import { type f32, i32 } from '../scalars.ts'

/**
 * Reductions over the lanes of a warp and the threads of a CTA. Every thread gets the result, and the order of the
 * additions depends on the block size alone, so a row's sum does not depend on what else runs.
 *
 * All threads must call them, with a block of a multiple of 32 threads. The `block…` forms hold one barrier and their
 * own shared memory: a call inside a run-time loop needs a `barrier()` between two turns.
 */

/** All values joined by neighbours, then neighbours of those, and so on: a chain of log₂ n operations. */
export const pairwise = <T>(values: readonly T[], join: (a: T, b: T) => T): T =>
  values.length === 1
    ? values[0]!
    : pairwise(
        values.flatMap((value, i) =>
          i % 2 === 1 ? [] : [i + 1 < values.length ? join(value, values[i + 1]!) : value],
        ),
        join,
      )

/** The sum over groups of `lanes` neighbouring lanes (a power of two). */
export function warpSum<T extends number>(value: T, lanes = 32): T {
  let total = value
  for (const step of unroll(Math.log2(lanes)))
    total = (total + shuffleXor(total, lanes / 2 ** (step + 1))) as T
  return total
}

/** The sum over the lanes up to the calling one. */
export function warpPrefixSum(value: i32): i32 {
  let sum = value
  for (const step of unroll(5)) {
    const lower = shuffleUp(sum, 2 ** step)
    sum = laneIdx >= 2 ** step ? sum + lower : sum
  }
  return sum
}

/** The maximum over groups of `lanes` neighbouring lanes (a power of two). */
export function warpMax<T extends number>(value: T, lanes = 32): T {
  let top = value
  for (const step of unroll(Math.log2(lanes))) {
    top = Math.max(top, shuffleXor(top, lanes / 2 ** (step + 1))) as T
  }
  return top
}

/** The minimum over groups of `lanes` neighbouring lanes (a power of two). */
export function warpMin<T extends number>(value: T, lanes = 32): T {
  let bottom = value
  for (const step of unroll(Math.log2(lanes))) {
    bottom = Math.min(bottom, shuffleXor(bottom, lanes / 2 ** (step + 1))) as T
  }
  return bottom
}

/** The values of all warps' first lanes, in warp order. */
function gather<T extends number>(value: T, dtype: DType): T[] {
  const warps = blockDim.x / 32
  const slots = shared<T>(dtype, [warps])
  if (laneIdx === 0) slots.put(value, warpIdx)
  barrier()
  return load(slots, [0], warps)
}

/** The sum over all threads of the CTA. */
export function blockSum(value: f32): f32 {
  const sum = warpSum(value)
  return blockDim.x === 32 ? sum : gather(sum, 'f32').reduce((total, v) => total + v)
}

/** The maximum over all threads of the CTA. */
export function blockMax(value: f32): f32 {
  const top = warpMax(value)
  return blockDim.x === 32 ? top : gather(top, 'f32').reduce((m, v) => Math.max(m, v))
}

/** As `blockSum`, of integers: exact, by `redux.sync`. */
export function blockSumI32(value: i32): i32 {
  const sum = reduxAdd(value)
  return blockDim.x === 32 ? sum : gather(sum, 'i32').reduce((total, v) => total + v)
}

/** As `blockMax`, of integers. */
export function blockMaxI32(value: i32): i32 {
  const top = reduxMax(value)
  return blockDim.x === 32 ? top : gather(top, 'i32').reduce((m, v) => Math.max(m, v))
}

/**
 * As `blockSumI32`, in fewer instructions. The compiler does not know that all threads get the same, so that no
 * `barrier()` may stand under a condition on it.
 */
export function blockSumI32ByLanes(value: i32): i32 {
  const sum = reduxAdd(value)
  if (blockDim.x === 32) return sum
  const mine = ofWarp(sum)
  return reduxAdd(laneIdx < blockDim.x / 32 ? mine : i32(0))
}

/** As `blockMaxI32`, in fewer instructions, under the restriction of `blockSumI32ByLanes`. */
export function blockMaxI32ByLanes(value: i32): i32 {
  const top = reduxMax(value)
  return blockDim.x === 32 ? top : reduxMax(ofWarp(top))
}

/** To each lane the value of the first lane of the warp with its number, or of the last warp. */
function ofWarp(value: i32): i32 {
  const warps = blockDim.x / 32
  const slots = shared<i32>('i32', [warps])
  if (laneIdx === 0) slots.put(value, warpIdx)
  barrier()
  return slots.at(Math.min(laneIdx, warps - 1))
}
