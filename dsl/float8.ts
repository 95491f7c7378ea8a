import { roundHalfEven } from './math.ts'

/**
 * The 8-bit float e4m3 on the host (OCP FP8: 4 bits of exponent, 3 of mantissa, no infinity, one NaN). The results are
 * those of PTX `cvt.rn.satfinite.e4m3x2.f32`, bit for bit.
 */

/** The largest finite value, which larger ones become. */
export const E4M3_LARGEST = 448

const LARGEST_BITS = 0x7e
const NAN_BITS = 0x7f
const LEAST_EXPONENT = -6

/** The bits of the e4m3 nearest to `x`. */
export function e4m3Bits(x: number): number {
  if (Number.isNaN(x)) return NAN_BITS
  const sign = x < 0 || Object.is(x, -0) ? 0x80 : 0
  const magnitude = Math.abs(x)
  if (magnitude >= E4M3_LARGEST) return sign | LARGEST_BITS
  const exponent = Math.max(
    LEAST_EXPONENT,
    magnitude > 0 ? 31 - Math.clz32(magnitude * 2 ** 9) - 9 : LEAST_EXPONENT,
  )
  // In units of the last place; 8 and more have the hidden bit, and 16 carries into the exponent.
  const units = roundHalfEven(magnitude * 2 ** (3 - exponent))
  return sign | Math.min(LARGEST_BITS, ((exponent - LEAST_EXPONENT) << 3) + units)
}

/** The value of e4m3 bits. */
export function e4m3Value(bits: number): number {
  const sign = bits & 0x80 ? -1 : 1
  const [exponent, mantissa] = [(bits >>> 3) & 15, bits & 7]
  if (exponent === 15 && mantissa === 7) return Number.NaN
  return sign * (exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10))
}
