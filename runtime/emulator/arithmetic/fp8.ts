import type { FunctionBuilder, Local } from '../wasm/function.ts'
import type { F32, I32, V128 } from '../wasm/operations.ts'
import { f16, splat } from './half-vectors.ts'

/** An 8-bit float format, in vectors. */
export interface Fp8Format {
  readonly name: 'e4m3' | 'e5m2'
  /** f32 of the values in the top bytes of the words of `x`, whose other bytes are zero; exact. */
  widen(w: FunctionBuilder, x: V128): V128
  /**
   * The bits of four f32 values, rounded to nearest even, zero-extended; too large ones and infinities become the
   * largest finite value (`.satfinite`), NaN the canonical 0x7f.
   */
  narrow(w: FunctionBuilder, x: V128): V128
}

/** As `Fp8Format.narrow`, for a format of so many fraction bits and smallest normal exponent. */
function narrow(
  w: FunctionBuilder,
  value: V128,
  fractionBits: number,
  minExponent: number,
  largest: number,
): V128 {
  const dropped = 23 - fractionBits
  const x = w.let(value)
  const magnitude = w.let(w.v128.and(w.get(x), splat(w, 0x7fffffff)))
  // Normal results: an integer addition rounds the bits that go; its carry may well reach the exponent.
  const rebias = (minExponent + 126) << 23
  const odd = (): V128 => w.v128.and(w.i32x4.shr_u(w.get(magnitude), w.i32.const(dropped)), splat(w, 1))
  const half = splat(w, 2 ** (dropped - 1) - 1 - rebias)
  const rounded = w.i32x4.add(w.i32x4.add(half, w.get(magnitude)), odd())
  const normal = w.let(w.i32x4.shr_s(rounded, w.i32.const(dropped)))
  // Subnormal results: beside a power of two whose ulp in f32 is theirs, f32's own rounding drops the same bits.
  const anchor = (minExponent - fractionBits + 23 + 127) << 23
  const sum = w.f32x4.add(w.get(magnitude), splat(w, anchor))
  const subnormal = w.let(w.i32x4.sub(sum, splat(w, anchor)))
  const small = w.let(w.i32x4.lt_s(w.get(magnitude), splat(w, (minExponent + 127) << 23)))
  const finite = w.let(w.v128.bitselect(w.get(subnormal), w.get(normal), w.get(small)))
  const saturated = w.let(w.i32x4.min_s(w.get(finite), splat(w, largest)))
  const isNan = w.let(w.i32x4.gt_s(w.get(magnitude), splat(w, 0x7f800000)))
  const nan = splat(w, 0x7f)
  const sign = w.v128.and(w.i32x4.shr_u(w.get(x), w.i32.const(24)), splat(w, 0x80))
  const result = w.v128.bitselect(nan, w.v128.or(sign, w.get(saturated)), w.get(isNan))
  w.release(x, magnitude, normal, subnormal, small, finite, saturated, isNan)
  return result
}

export const e4m3: Fp8Format = {
  name: 'e4m3',

  widen(w, x) {
    const bits = w.let(x)
    // The fields where f32 has them, but with the exponent 120 too small; the product puts that right, for subnormals
    // too. There is no infinity, and one NaN: all ones.
    const magnitude = w.let(w.i32x4.shr_u(w.i32x4.shl(w.get(bits), w.i32.const(1)), w.i32.const(5)))
    const scaled = w.let(w.f32x4.mul(w.get(magnitude), w.f32x4.splat(w.f32.const(2 ** 120))))
    const nan = w.v128.and(w.i32x4.eq(w.get(magnitude), splat(w, 0x07f00000)), splat(w, 0x7fc00000))
    const unsigned = w.v128.or(nan, w.get(scaled))
    const result = w.v128.or(unsigned, w.v128.and(w.get(bits), splat(w, 0x80000000)))
    w.release(bits, magnitude, scaled)
    return result
  },

  narrow: (w, x) => narrow(w, x, 3, -6, 0x7e),
}

export const e5m2: Fp8Format = {
  name: 'e5m2',
  // An e5m2 value is the upper byte of an f16.
  widen: (w, x) => f16.widen(w, x),
  narrow: (w, x) => narrow(w, x, 2, -14, 0x7b),
}

export const fp8Formats = { e4m3, e5m2 } as const

/** Rounds `low` and `high` and packs them into the low two bytes of each word: `cvt.rn.satfinite.e4m3x2.f32`. */
export function packFp8(
  w: FunctionBuilder,
  format: Fp8Format,
  low: Local<'v128'>,
  high: Local<'v128'>,
): V128 {
  const lowBits = format.narrow(w, w.get(low))
  return w.v128.or(lowBits, w.i32x4.shl(format.narrow(w, w.get(high)), w.i32.const(8)))
}

/** Two f16 of the low two bytes of each word: `cvt.rn.f16x2.e4m3x2`; exact, NaN becomes 0x7fff. */
export function unpackFp8(w: FunctionBuilder, format: Fp8Format, x: V128): V128 {
  const bits = w.let(x)
  const low = f16.narrow(w, format.widen(w, w.i32x4.shl(w.get(bits), w.i32.const(24))))
  const highByte = w.v128.and(w.i32x4.shl(w.get(bits), w.i32.const(16)), splat(w, 0xff000000))
  const high = w.i32x4.shl(f16.narrow(w, format.widen(w, highByte)), w.i32.const(16))
  w.release(bits)
  return w.v128.or(low, high)
}

/** `cvt.rn.satfinite.{e4m3x2,e5m2x2}.f32 d, a, b`: a goes to the upper byte of the low half. */
export function fp8PairFromF32(w: FunctionBuilder, format: Fp8Format, a: F32, b: F32): I32 {
  const routine = w.module.routine(`cvt.rn.${format.name}x2.f32`, ['f32', 'f32'], ['i32'], (r) => {
    const low = r.let(r.f32x4.splat(r.get(r.args[1])))
    const high = r.let(r.f32x4.splat(r.get(r.args[0])))
    r.i32x4.extract_lane(packFp8(r, format, low, high), 0)
  })
  return w.call(routine, a, b)
}

/** `cvt.rn.f16x2.{e4m3x2,e5m2x2}`. */
export function halfPairFromFp8(w: FunctionBuilder, format: Fp8Format, x: I32): I32 {
  const routine = w.module.routine(`cvt.rn.f16x2.${format.name}x2`, ['i32'], ['i32'], (r) => {
    r.i32x4.extract_lane(unpackFp8(r, format, r.i32x4.splat(r.get(r.args[0]))), 0)
  })
  return w.call(routine, x)
}
