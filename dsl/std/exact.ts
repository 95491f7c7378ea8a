import { fmaF32 } from '../fma.ts'
import { fma, round, sqrt } from '../intrinsics.ts'
import { roundHalfEven } from '../math.ts'
import { f32, i32, u32 } from '../scalars.ts'

/**
 * Functions of f32 made of correctly rounded operations alone: they give the same bits on every GPU and in the
 * emulator. `ex2.approx`, `rcp.approx` and `rsqrt.approx` are the hardware's own approximations; where a result is
 * quantized next, a difference in the last bit now and then becomes a whole step, and what two devices generate drifts
 * apart.
 */

/** Coefficients of 2^x = Σ (x·ln 2)^k / k!, which leaves less than 6e-9 of relative error for |x| ≤ ½ after x^7. */
const TERMS = [7, 6, 5, 4, 3, 2, 1].map((k) => {
  let factorial = 1
  for (let i = 2; i <= k; i++) factorial *= i
  return Math.LN2 ** k / factorial
})

/** 2^x, within two units in the last place; 0 below 2^-126.5, infinity from 2^127.5 on. */
export function exp2Exact(x: f32): f32 {
  const inRange = Math.min(Math.max(x, -127), 128)
  const whole = round(inRange)
  const part = inRange - whole
  let power = f32(TERMS[0]!)
  for (const term of TERMS.slice(1)) power = fma(power, part, f32(term))
  power = fma(power, part, f32(1))
  // The bits of 2^whole: -127 gives those of 0, and 128 those of infinity.
  return power * f32.bits(u32(i32(whole) + 127) << 23)
}

/** `exp2Exact` on the host, bit for bit. */
export function exp2ExactReference(x: number): number {
  const inRange = Math.min(Math.max(x, -127), 128)
  const whole = roundHalfEven(inRange)
  const part = inRange - whole
  const power = [...TERMS, 1].map(Math.fround).reduce((sum, term) => fmaF32(sum, part, term))
  return whole === 128 ? power * Infinity : whole === -127 ? 0 : Math.fround(power * 2 ** whole)
}

/** 1 / √x, each operation rounded to nearest. */
export function rsqrtExact(x: f32): f32 {
  return 1 / sqrt(x)
}
