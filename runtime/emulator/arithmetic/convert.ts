import type { FunctionBuilder } from '../wasm/function.ts'
import type { F32, F64, I32, I64, V128, Value } from '../wasm/operations.ts'
import { type HalfFormat, halfFormats } from './half-vectors.ts'

/*
 * `cvt`. Every function writes code that takes its operands from the stack and leaves the result, as the instruction
 * methods of the builder do. 16-bit values sit in the low half of an i32; the upper half of an operand is ignored, that
 * of a result is zero (8- and 16-bit signed integers: sign-extended).
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

/** The low halves of words 0 and 1, as one word. */
export function packLowLanes(w: FunctionBuilder, words: V128): I32 {
  const bits = w.let(words)
  const packed = w.i8x16.shuffle(w.get(bits), w.get(bits), [0, 1, 4, 5, 0, 1, 4, 5, 0, 1, 4, 5, 0, 1, 4, 5])
  w.release(bits)
  return w.i32x4.extract_lane(packed, 0)
}

/** To nearest even, toward zero, toward minus infinity, toward plus infinity. */
export type IntegerRounding = 'rni' | 'rzi' | 'rmi' | 'rpi'
export type IntegerName = 's8' | 'u8' | 's16' | 'u16' | 's32' | 'u32' | 's64' | 'u64'

const limits: Readonly<Record<'s8' | 'u8' | 's16' | 'u16', readonly [low: number, high: number]>> = {
  s8: [-128, 127],
  u8: [0, 255],
  s16: [-32768, 32767],
  u16: [0, 65535],
}

/** `cvt.rni.f32.f32` and its sisters: rounds to an integral f32. */
export function roundF32(w: FunctionBuilder, rounding: IntegerRounding, x: F32): F32 {
  switch (rounding) {
    case 'rni':
      return w.f32.nearest(x)
    case 'rzi':
      return w.f32.trunc(x)
    case 'rmi':
      return w.f32.floor(x)
    case 'rpi':
      return w.f32.ceil(x)
  }
}

/**
 * `cvt.RND.INT.f32`: out-of-range values saturate, with or without `.sat`; NaN gives 0, for 64-bit results 1 << 63
 * (PTX manual, "Data Movement: cvt").
 */
export function integerFromF32<const T extends IntegerName>(
  w: FunctionBuilder,
  rounding: IntegerRounding,
  to: T,
  x: F32,
): T extends 's64' | 'u64' ? I64 : I32 {
  const rounded = roundF32(w, rounding, x)
  const emit = (): Value<'i32' | 'i64'> => {
    switch (to as IntegerName) {
      case 's32':
        return w.i32.trunc_sat_f32_s(rounded)
      case 'u32':
        return w.i32.trunc_sat_f32_u(rounded)
      case 's64':
        return nanTo64(w, rounded, (value) => w.i64.trunc_sat_f32_s(value))
      case 'u64':
        return nanTo64(w, rounded, (value) => w.i64.trunc_sat_f32_u(value))
      default:
        return clampI32(w, ...limits[to as keyof typeof limits], w.i32.trunc_sat_f32_s(rounded))
    }
  }
  return emit() as T extends 's64' | 'u64' ? I64 : I32
}

function nanTo64(w: FunctionBuilder, rounded: F32, truncate: (value: F32) => I64): I64 {
  const value = w.let(rounded)
  const isNumber = (): I32 => w.f32.eq(w.get(value), w.get(value))
  const result = w.select(truncate(w.get(value)), w.i64.const(1n << 63n), isNumber())
  w.release(value)
  return result
}

/** The signed integer nearest to `x` between `low` and `high`. */
function clampI32(w: FunctionBuilder, low: number, high: number, x: I32): I32 {
  const value = w.let(x)
  const least = w.select(w.get(value), w.i32.const(low), w.i32.gt_s(w.get(value), w.i32.const(low)))
  const raised = w.let(least)
  const result = w.select(w.get(raised), w.i32.const(high), w.i32.lt_s(w.get(raised), w.i32.const(high)))
  w.release(value, raised)
  return result
}

/** `cvt.sat.TO.s32` or `.u32`: the nearest value of the type, extended to 32 bits. */
export function saturate(
  w: FunctionBuilder,
  to: Exclude<IntegerName, 's64' | 'u64'>,
  from: 's32' | 'u32',
  x: I32,
): I32 {
  if (to === from) return x
  if (from === 's32')
    return to === 'u32' ? clampI32(w, 0, 0x7fffffff, x) : clampI32(w, ...limits[to as 's8'], x)
  const high = to === 's32' ? 0x7fffffff : limits[to as 's8'][1]
  const value = w.let(x)
  const inRange = (): I32 => w.i32.lt_u(w.get(value), w.i32.const(high))
  const result = w.select(w.get(value), w.i32.const(high), inRange())
  w.release(value)
  return result
}

/**
 * `cvt.pack.sat.TO.s32 d, a, b{, c}`: a and b saturate to the type; b lies lowest, a above it, and above both, for 8-bit
 * types, the low half of c.
 */
export function packSaturated(
  w: FunctionBuilder,
  to: 's8' | 'u8' | 's16' | 'u16',
  a: I32,
  b: I32,
  c?: I32,
): I32 {
  const bits = to.endsWith('16') ? 16 : 8
  const mask = (1 << bits) - 1
  const third = c && w.let(c)
  const second = w.let(b)
  const upper = w.i32.shl(w.i32.and(saturate(w, to, 's32', a), w.i32.const(mask)), w.i32.const(bits))
  const lower = w.i32.and(saturate(w, to, 's32', w.get(second)), w.i32.const(mask))
  let result = w.i32.or(upper, lower)
  w.release(second)
  if (third) {
    result = w.i32.or(result, w.i32.shl(w.get(third), w.i32.const(2 * bits)))
    w.release(third)
  }
  return result
}

/** `cvt.rn.f16.TYPE` and bf16 for integers up to 32 bits, and from f64: rounds once. */
export function halfFromF64(w: FunctionBuilder, name: HalfName, x: F64): I32 {
  const routine = w.module.routine(`cvt.rn.${name}.f64`, ['f64'], ['i32'], (r) => {
    const format = halfFormats[name]
    const rounded = roundToFormat(r, format, r.f64x2.splat(r.get(r.args[0])))
    r.i32x4.extract_lane(format.narrow(r, r.f32x4.demote_f64x2_zero(rounded)), 0)
  })
  return w.call(routine, x)
}

/** Rounds f64 values to the precision of a 16-bit format, ties to even; too large ones stay too large. */
export function roundToFormat(w: FunctionBuilder, format: HalfFormat, x: V128): V128 {
  const value = w.let(x)
  const power = (exponent: number): V128 => w.f64x2.splat(w.f64.const(2 ** exponent))
  // Adding a number whose ulp is the format's ulp at |x| makes the sum round there; taking it away is exact.
  const magnitude = w.v128.and(w.get(value), w.i64x2.splat(w.i64.const(0x7ff0_0000_0000_0000n)))
  const clamped = w.f64x2.min(
    w.f64x2.max(magnitude, power(format.minExponent)),
    power(format.maxExponent + 1),
  )
  const magic = w.let(w.f64x2.mul(clamped, w.f64x2.splat(w.f64.const(1.5 * 2 ** (52 - format.fractionBits)))))
  const rounded = w.f64x2.sub(w.f64x2.add(w.get(value), w.get(magic)), w.get(magic))
  // What became zero keeps its sign.
  const sign = (): V128 => w.v128.and(w.get(value), w.i64x2.splat(w.i64.const(1n << 63n)))
  const result = w.v128.or(rounded, sign())
  w.release(value, magic)
  return result
}
