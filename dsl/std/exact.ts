import { EXP2_SHORT, EXP2_TERMS, RECIPROCAL_BITS, RECIPROCAL_STEP } from '../exact-reference.ts'
import { fma, sqrt } from '../intrinsics.ts'
import { f32, u32 } from '../scalars.ts'

/**
 * Functions of f32 made of correctly rounded operations alone: they give the same bits on every GPU and in the
 * emulator. `ex2.approx`, `rcp.approx` and `rsqrt.approx` are the hardware's own approximations; where a result is
 * quantized next, a difference in the last bit now and then becomes a whole step, and what two devices generate drifts
 * apart.
 */

/** Added to a float below 2^22 it leaves the nearest even integer in the low bits, and no room for a fraction. */
const ROUNDING = 12582912

/** The polynomial with these coefficients, highest first. */
const polynomial = (x: f32, [first, ...rest]: readonly number[]): f32 =>
  rest.reduce((sum: f32, term) => fma(sum, x, f32(term)), f32(first!))

/** 2^x for −127 ≤ x ≤ 128, of a polynomial for the part within ½. */
function power2(x: f32, coefficients: readonly number[]): f32 {
  // One addition does the work of two conversions, which have half the throughput.
  const shifted = x + ROUNDING
  const power = polynomial(x - (shifted - ROUNDING), coefficients)
  // The bits of 2^whole: -127 gives those of 0, and 128 those of infinity. Those of ROUNDING leave at the top.
  return power * f32.bits((u32.bits(shifted) << 23) + 0x3f800000)
}

/** 2^x, within two units in the last place; 0 below 2^-126.5, infinity from 2^127.5 on. */
export const exp2Exact = (x: f32): f32 => power2(Math.min(Math.max(x, -127), 128), [...EXP2_TERMS, 1])

/** 2^x for −127 ≤ x ≤ 127, to a relative error of 1.5·10⁻⁷: shorter than `exp2Exact`, and without its checks. */
export const exp2Within = (x: f32): f32 => power2(x, EXP2_SHORT.toReversed())

/**
 * 2^(x · factor) for −125 ≤ x · factor ≤ 126, to a relative error of 1.5·10⁻⁷: the product is not rounded, nothing is
 * checked, and with nine operations it takes half as many as `exp2Exact`.
 */
export function exp2Product(x: f32, factor: number): f32 {
  const shifted = fma(x, f32(factor), f32(ROUNDING))
  const power = polynomial(fma(x, f32(factor), ROUNDING - shifted), EXP2_SHORT.toReversed())
  return f32.bits(u32.bits(power) + (u32.bits(shifted) << 23))
}

/** 1 / x for 2^-125 ≤ x ≤ 2^125, within one unit in the last place: six operations, where a division takes a branch. */
export function reciprocalExact(x: f32): f32 {
  const guess = f32.bits(RECIPROCAL_BITS - u32.bits(x))
  const second = guess * fma(-x, guess, f32(RECIPROCAL_STEP))
  const error = fma(-x, second, f32(1))
  return fma(second, fma(error, error, error), second)
}

/** 1 / √x, each operation rounded to nearest. */
export function rsqrtExact(x: f32): f32 {
  return 1 / sqrt(x)
}
