import { f16Bits, f16Value } from '../../dsl/half.ts'
import { f16, f32, type In, type InOut, i32, laneIdx, load, store } from '../../dsl/index.ts'
import { roundHalfEven } from '../../dsl/math.ts'
import { warpMax, warpMin } from '../../dsl/std/index.ts'
import type { EncodedRow, KvPair, KvRow } from './kv.ts'

/**
 * The smallest positive fp16 number, for vectors without a range. Subnormal scales are kept: they err by 2⁻²⁵ at most,
 * which costs the last code less than a floor at the smallest normal number would cost every code.
 */
export const SMALLEST_SCALE = 2 ** -24

/** The largest finite fp16 number. Values are clamped to it, so that minima and scales stay finite for bf16 models. */
export const LARGEST = 65504

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
  let low = f32(LARGEST)
  let high = f32(-LARGEST)
  pairs.forEach((pair, i) => {
    for (const value of pair.values) {
      low = active[i] ? Math.min(low, value) : low
      high = active[i] ? Math.max(high, value) : high
    }
  })
  const min = Math.max(warpMin(low), -LARGEST)
  const range = Math.min(warpMax(high), LARGEST) - min
  const scaleCode = f16(Math.max(range * (1 / levels), SMALLEST_SCALE))
  const minCode = f16(min)
  if (laneIdx === 0) store(params, [row[0], row[1], row[2], 0], [scaleCode, minCode])
  const scale = f32(scaleCode)
  const offset = f32(minCode)
  const perStep = 1 / scale
  return (value) => i32Clamp((value - offset) * perStep, levels)
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

/** Host: codes, one to an element, with the roundings of the device. */
export function affineEncode(values: Float64Array, levels: number): EncodedRow {
  const clamped = (value: number) => Math.min(Math.max(value, -LARGEST), LARGEST)
  const min = clamped(values.reduce((a, b) => Math.min(a, b)))
  const range = Math.fround(clamped(values.reduce((a, b) => Math.max(a, b))) - min)
  const params = [
    f16Bits(Math.max(Math.fround(range * Math.fround(1 / levels)), SMALLEST_SCALE)),
    f16Bits(min),
  ]
  const [scale, offset] = params.map(f16Value) as [number, number]
  const perStep = Math.fround(1 / scale)
  const codes = Uint8Array.from(values, (value) => {
    const x = Math.fround(Math.fround(value - offset) * perStep)
    return roundHalfEven(Math.min(Math.max(x, 0), levels))
  })
  return { codes, params }
}

/** Host: the values of codes, one to an element. */
export function affineDecode({ codes, params }: EncodedRow): Float64Array {
  const [scale, offset] = params.map(f16Value) as [number, number]
  return Float64Array.from(codes, (code) => code * scale + offset)
}
