import { f16Bits, f16Value } from '../../dsl/half.ts'
import { roundHalfEven } from '../../dsl/math.ts'
import type { EncodedRow } from './kv.ts'

/**
 * The smallest positive fp16 number, for vectors without a range. Subnormal scales are kept: they err by 2⁻²⁵ at most,
 * which costs the last code less than a floor at the smallest normal number would cost every code.
 */
export const SMALLEST_SCALE = 2 ** -24

/** The largest finite fp16 number. Values are clamped to it, so that minima and scales stay finite for bf16 models. */
export const LARGEST = 65504

/** Codes, one to an element, with the roundings of the device (`kv-store.ts`). */
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

/** The values of codes, one to an element. */
export function affineDecode({ codes, params }: EncodedRow): Float64Array {
  const [scale, offset] = params.map(f16Value) as [number, number]
  return Float64Array.from(codes, (code) => code * scale + offset)
}
