import type { FunctionBuilder, Local } from '../wasm/function.ts'
import type { V128 } from '../wasm/operations.ts'

/** f32 of the four f16 values in the upper halves of the words of `x`, whose lower halves are zero; exact. */
export function halfOfHighBits(w: FunctionBuilder, x: V128): V128 {
  const splat = (bits: number): V128 => w.i32x4.splat(w.i32.const(bits))
  const bits = w.let(x)
  // The exponent and fraction where f32 has them, the exponent 112 too small; the product puts that right for
  // subnormals too.
  const magnitude = w.let(w.i32x4.shr_u(w.i32x4.shl(w.get(bits), w.i32.const(1)), w.i32.const(4)))
  const scaled = w.let(w.f32x4.mul(w.get(magnitude), w.f32x4.splat(w.f32.const(2 ** 112))))
  const special = w.v128.and(w.i32x4.ge_s(w.get(magnitude), splat(0x0f800000)), splat(0x7f800000))
  const result = w.v128.or(w.v128.or(special, w.get(scaled)), w.v128.and(w.get(bits), splat(0x80000000)))
  w.release(bits, magnitude, scaled)
  return result
}

/** Rounds `low` and `high` to f16, ties to even, and packs them into the halves of each word. */
export function halvesFromFloats(w: FunctionBuilder, low: Local<'v128'>, high: Local<'v128'>): Local<'v128'> {
  const lowBits = w.let(halfBits(w, low))
  const highBits = w.let(halfBits(w, high))
  const packed = w.let(w.v128.or(w.get(lowBits), w.i32x4.shl(w.get(highBits), w.i32.const(16))))
  w.release(lowBits, highBits)
  return packed
}

/** The f16 bits of four f32 values, zero-extended. */
function halfBits(w: FunctionBuilder, x: Local<'v128'>): V128 {
  const splat = (bits: number): V128 => w.i32x4.splat(w.i32.const(bits))
  const magnitude = w.let(w.v128.and(w.get(x), splat(0x7fffffff)))
  // Normal results: round the 13 bits that go, half to even, by an integer addition whose carry may reach the exponent.
  const even = (): V128 => w.v128.and(w.i32x4.shr_u(w.get(magnitude), w.i32.const(13)), splat(1))
  const normal = w.let(
    w.i32x4.shr_u(
      w.i32x4.add(w.i32x4.add(w.get(magnitude), splat(0xfff - (112 << 23))), even()),
      w.i32.const(13),
    ),
  )
  // Subnormal results: adding 0.5 makes f32's own rounding drop the same bits (its ulp there is 2^-24).
  const subnormal = w.let(
    w.i32x4.sub(w.f32x4.add(w.get(magnitude), w.f32x4.splat(w.f32.const(0.5))), splat(0x3f000000)),
  )
  const finite = w.let(
    w.v128.bitselect(w.get(subnormal), w.get(normal), w.i32x4.lt_u(w.get(magnitude), splat(0x38800000))),
  )
  // 65520 and above, and infinity, give infinity; NaN gives the canonical 0x7fff.
  const overflow = w.let(
    w.v128.bitselect(splat(0x7fff), splat(0x7c00), w.i32x4.gt_u(w.get(magnitude), splat(0x7f800000))),
  )
  const unsigned = w.v128.bitselect(
    w.get(overflow),
    w.get(finite),
    w.i32x4.ge_u(w.get(magnitude), splat(0x477ff000)),
  )
  const sign = w.v128.and(w.i32x4.shr_u(w.get(x), w.i32.const(16)), splat(0x8000))
  const result = w.v128.or(unsigned, sign)
  w.release(magnitude, normal, subnormal, finite, overflow)
  return result
}
