import type { FunctionBuilder } from '../wasm/function.ts'
import type { F32, I32 } from '../wasm/operations.ts'
import { type HalfFormat, halfFormats, packLowLanes } from './half-vectors.ts'

/*
 * `cvt` between f32 and the 16-bit floats. Every function writes code that takes its operands from the stack and leaves the result, as the instruction
 * methods of the builder do. 16-bit values sit in the low half of an i32; the upper half of an operand is ignored, that
 * of a result is zero.
 */

export type HalfName = HalfFormat['name']

/** `cvt.f32.f16` and `cvt.f32.bf16`; exact. */
export function f32FromHalf(w: FunctionBuilder, name: HalfName, x: I32): F32 {
  if (name === 'bf16') return w.f32.reinterpret_i32(w.i32.shl(x, w.i32.const(16)))
  const routine = w.module.routine('cvt.f32.f16', ['i32'], ['f32'], (r) => {
    const high = r.i32x4.splat(r.i32.shl(r.get(r.args[0]), r.i32.const(16)))
    r.f32x4.extract_lane(halfFormats[name].widen(r, high), 0)
  })
  return w.call(routine, x)
}

/** `cvt.rn.f16.f32` and `cvt.rn.bf16.f32`. */
export function halfFromF32(w: FunctionBuilder, name: HalfName, x: F32): I32 {
  const routine = w.module.routine(`cvt.rn.${name}.f32`, ['f32'], ['i32'], (r) => {
    r.i32x4.extract_lane(halfFormats[name].narrow(r, r.f32x4.splat(r.get(r.args[0]))), 0)
  })
  return w.call(routine, x)
}

/** `cvt.rn.f16x2.f32 d, a, b` and its bf16 sister: a goes to the upper half. */
export function halfPairFromF32(w: FunctionBuilder, name: HalfName, a: F32, b: F32): I32 {
  const routine = w.module.routine(`cvt.rn.${name}x2.f32`, ['f32', 'f32'], ['i32'], (r) => {
    const both = r.f32x4.replace_lane(r.f32x4.splat(r.get(r.args[1])), r.get(r.args[0]), 1)
    packLowLanes(r, halfFormats[name].narrow(r, both))
  })
  return w.call(routine, a, b)
}
