import { EXP2_TERMS } from '../exact-reference.ts'
import { fma, round, sqrt } from '../intrinsics.ts'
import { f32, i32, u32 } from '../scalars.ts'

/**
 * Functions of f32 made of correctly rounded operations alone: they give the same bits on every GPU and in the
 * emulator. `ex2.approx`, `rcp.approx` and `rsqrt.approx` are the hardware's own approximations; where a result is
 * quantized next, a difference in the last bit now and then becomes a whole step, and what two devices generate drifts
 * apart.
 */

/** 2^x, within two units in the last place; 0 below 2^-126.5, infinity from 2^127.5 on. */
export function exp2Exact(x: f32): f32 {
  const inRange = Math.min(Math.max(x, -127), 128)
  const whole = round(inRange)
  const part = inRange - whole
  let power = f32(EXP2_TERMS[0]!)
  for (const term of EXP2_TERMS.slice(1)) power = fma(power, part, f32(term))
  power = fma(power, part, f32(1))
  // The bits of 2^whole: -127 gives those of 0, and 128 those of infinity.
  return power * f32.bits(u32(i32(whole) + 127) << 23)
}

/** 1 / √x, each operation rounded to nearest. */
export function rsqrtExact(x: f32): f32 {
  return 1 / sqrt(x)
}
