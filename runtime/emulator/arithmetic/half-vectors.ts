import type { FunctionBuilder, Local } from '../wasm/function.ts'
import type { I32, V128 } from '../wasm/operations.ts'

/** A 16-bit float format, in vectors: the one place where its rounding is written. */
export interface HalfFormat {
  readonly name: 'f16' | 'bf16'
  /** Explicit fraction bits. */
  readonly fractionBits: number
  /** Exponents of the smallest and the largest normal number. */
  readonly minExponent: number
  readonly maxExponent: number
  /** f32 of the values in the upper halves of the words of `x`, whose lower halves are zero; exact. */
  widen(w: FunctionBuilder, x: V128): V128
  /** The bits of four f32 values, rounded to nearest even, zero-extended; NaN gives the canonical 0x7fff. */
  narrow(w: FunctionBuilder, x: V128): V128
}

/** A bit pattern in all four lanes. */
export const splat = (w: FunctionBuilder, bits: number): V128 => w.i32x4.splat(w.i32.const(bits))

export const f16: HalfFormat = {
  name: 'f16',
  fractionBits: 10,
  minExponent: -14,
  maxExponent: 15,

  widen(w, x) {
    const bits = w.let(x)
    // The fields where f32 has them, but with the exponent 112 too small; the product puts that right, for
    // subnormals too. Infinity and NaN then get f32's exponent.
    const magnitude = w.let(w.i32x4.shr_u(w.i32x4.shl(w.get(bits), w.i32.const(1)), w.i32.const(4)))
    const scaled = w.let(w.f32x4.mul(w.get(magnitude), w.f32x4.splat(w.f32.const(2 ** 112))))
    const special = w.v128.and(w.i32x4.ge_s(w.get(magnitude), splat(w, 0x0f800000)), splat(w, 0x7f800000))
    const unsigned = w.v128.or(special, w.get(scaled))
    const result = w.v128.or(unsigned, w.v128.and(w.get(bits), splat(w, 0x80000000)))
    w.release(bits, magnitude, scaled)
    return result
  },

  narrow(w, value) {
    const x = w.let(value)
    const magnitude = w.let(w.v128.and(w.get(x), splat(w, 0x7fffffff)))
    // Normal results: an integer addition rounds the 13 bits that go; its carry may well reach the exponent.
    const odd = (): V128 => w.v128.and(w.i32x4.shr_u(w.get(magnitude), w.i32.const(13)), splat(w, 1))
    const normal = w.let(
      w.i32x4.shr_u(
        w.i32x4.add(w.i32x4.add(w.get(magnitude), splat(w, 0xfff - (112 << 23))), odd()),
        w.i32.const(13),
      ),
    )
    // Subnormal results: beside 0.5 the ulp of f32 is 2^-24, so its own rounding drops the same bits.
    const subnormal = w.let(
      w.i32x4.sub(w.f32x4.add(w.get(magnitude), w.f32x4.splat(w.f32.const(0.5))), splat(w, 0x3f000000)),
    )
    const finite = w.let(
      w.v128.bitselect(w.get(subnormal), w.get(normal), w.i32x4.lt_s(w.get(magnitude), splat(w, 0x38800000))),
    )
    // 65520 and above give infinity.
    const isNan = (): V128 => w.i32x4.gt_s(w.get(magnitude), splat(w, 0x7f800000))
    const special = w.let(w.v128.bitselect(splat(w, 0x7fff), splat(w, 0x7c00), isNan()))
    const unsigned = w.let(
      w.v128.bitselect(w.get(special), w.get(finite), w.i32x4.ge_s(w.get(magnitude), splat(w, 0x477ff000))),
    )
    const sign = w.v128.and(w.i32x4.shr_u(w.get(x), w.i32.const(16)), splat(w, 0x8000))
    const result = w.v128.or(w.v128.andnot(sign, isNan()), w.get(unsigned))
    w.release(x, magnitude, normal, subnormal, finite, special, unsigned)
    return result
  },
}

export const bf16: HalfFormat = {
  name: 'bf16',
  fractionBits: 7,
  minExponent: -126,
  maxExponent: 127,

  widen: (_w, x) => x,

  narrow(w, value) {
    const x = w.let(value)
    const odd = w.v128.and(w.i32x4.shr_u(w.get(x), w.i32.const(16)), splat(w, 1))
    const rounded = w.let(
      w.i32x4.shr_u(w.i32x4.add(w.i32x4.add(odd, splat(w, 0x7fff)), w.get(x)), w.i32.const(16)),
    )
    const isNumber = w.f32x4.eq(w.get(x), w.get(x))
    const mask = w.let(isNumber)
    const result = w.v128.bitselect(w.get(rounded), splat(w, 0x7fff), w.get(mask))
    w.release(x, rounded, mask)
    return result
  },
}

/** The formats by name. */
export const halfFormats = { f16, bf16 } as const

/** Rounds `low` and `high` and packs them into the halves of each word. */
export function packHalves(
  w: FunctionBuilder,
  format: HalfFormat,
  low: Local<'v128'>,
  high: Local<'v128'>,
): V128 {
  const lowBits = format.narrow(w, w.get(low))
  return w.v128.or(lowBits, w.i32x4.shl(format.narrow(w, w.get(high)), w.i32.const(16)))
}

/** The low halves of words 0 and 1, as one word. */
export function packLowLanes(w: FunctionBuilder, words: V128): I32 {
  const bits = w.let(words)
  const packed = w.i8x16.shuffle(w.get(bits), w.get(bits), [0, 1, 4, 5, 0, 1, 4, 5, 0, 1, 4, 5, 0, 1, 4, 5])
  w.release(bits)
  return w.i32x4.extract_lane(packed, 0)
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
