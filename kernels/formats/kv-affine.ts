import { f16Bits, f16Value } from '../../dsl/half.ts'
import { f16, f32, type In, type InOut, i32, laneIdx, load, store } from '../../dsl/index.ts'
import { roundHalfEven } from '../../dsl/math.ts'
import { warpMax, warpMin } from '../../dsl/std/index.ts'
import type { KvPair, KvRow } from './kv.ts'

/** The smallest normal fp16 number: scales below it would lose precision and push codes past their range. */
const SMALLEST_SCALE = 2 ** -14

/** The largest finite fp16 number, as a float that no extreme value exceeds. */
const NO_VALUE = 65504

/**
 * What the coded formats share: one scale and one minimum per token and head. Finds them over the warp's active lanes,
 * stores them, and returns the function from value to code in [0, levels].
 *
 * Both are rounded to fp16 before any code is computed, and codes are clamped: rounding the minimum up may push the
 * lowest value below code 0, and a range far below the minimum's precision may push the highest past the last.
 */
export function affineEncoder(
  params: InOut<f16, string>,
  row: KvRow,
  pairs: readonly KvPair[],
  active: readonly boolean[],
  levels: number,
): (value: f32) => i32 {
  let low = f32(NO_VALUE)
  let high = f32(-NO_VALUE)
  pairs.forEach((pair, i) => {
    for (const value of pair.values) {
      low = active[i] ? Math.min(low, value) : low
      high = active[i] ? Math.max(high, value) : high
    }
  })
  const min = warpMin(low)
  const range = warpMax(high) - min
  const scaleCode = f16(Math.max(range / levels, SMALLEST_SCALE))
  const minCode = f16(min)
  if (laneIdx === 0) store(params, [row[0], row[1], row[2], 0], [scaleCode, minCode])
  const scale = f32(scaleCode)
  const offset = f32(minCode)
  return (value) => i32Clamp((value - offset) / scale, levels)
}

/** Rounds to the nearest even integer in [0, levels]. */
function i32Clamp(x: f32, levels: number): i32 {
  return i32.round(Math.min(Math.max(x, 0), levels))
}

/** Scale and minimum of one row. */
export function loadAffine(params: In<f16, string>, row: KvRow): readonly [f32, f32] {
  const [scale, min] = load(params, [row[0], row[1], row[2], 0], 2)
  return [f32(scale!), f32(min!)]
}

/** A head's vector after coding and decoding, on the host. */
export function affineReference(values: Float64Array, levels: number): Float64Array {
  const min = values.reduce((a, b) => Math.min(a, b))
  const max = values.reduce((a, b) => Math.max(a, b))
  const scale = f16Value(f16Bits(Math.max(Math.fround(Math.fround(max - min) / levels), SMALLEST_SCALE)))
  const offset = f16Value(f16Bits(min))
  return values.map((value) => {
    const x = Math.fround(Math.fround(value - offset) / scale)
    return roundHalfEven(Math.min(Math.max(x, 0), levels)) * scale + offset
  })
}
