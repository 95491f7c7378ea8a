import type { FunctionBuilder } from '../wasm/function.ts'
import type { I32, V128 } from '../wasm/operations.ts'

export type DotSign = 's32' | 'u32'

/** `dp4a.ATYPE.BTYPE d, a, b, c`: c plus the four products of bytes, modulo 2^32. */
export function dotBytes(w: FunctionBuilder, aSign: DotSign, bSign: DotSign, a: I32, b: I32, c: I32): I32 {
  const sum = w.let(c)
  const second = w.let(b)
  const widen = (sign: DotSign, word: I32): V128 =>
    sign === 's32'
      ? w.i16x8.extend_low_i8x16_s(w.i32x4.splat(word))
      : w.i16x8.extend_low_i8x16_u(w.i32x4.splat(word))
  const pairs = w.let(w.i32x4.dot_i16x8_s(widen(aSign, a), widen(bSign, w.get(second))))
  const products = w.i32.add(w.i32x4.extract_lane(w.get(pairs), 0), w.i32x4.extract_lane(w.get(pairs), 1))
  const result = w.i32.add(products, w.get(sum))
  w.release(sum, second, pairs)
  return result
}
