import { f32, fma, i32, u32 } from '../../dsl/index.ts'

/** log₂((1 + t) / (1 − t)) = t · Σ terms · t²ᵏ; what is left out is less than 3·10⁻⁹ of it for mantissas of √½ to √2. */
const LOG2_TERMS = [9, 7, 5, 3, 1].map((power) => 2 / (Math.LN2 * power))
const SQRT_HALF_BITS = 0x3f3504f3

/** Device: log₂ of a normal number above 0, of correctly rounded operations; its error is relative next to 1, too. */
export function log2Exact(x: f32): f32 {
  const exponent = i32(u32.bits(x) - SQRT_HALF_BITS) >> 23
  const mantissa = f32.bits(u32.bits(x) - (u32(exponent) << 23))
  const t = (mantissa - 1) / (mantissa + 1)
  const square = t * t
  const series = LOG2_TERMS.slice(1).reduce(
    (sum: f32, term) => fma(sum, square, f32(term)),
    f32(LOG2_TERMS[0]!),
  )
  return fma(series, t, f32(exponent))
}
