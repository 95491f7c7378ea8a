import { fp8Formats } from '../arithmetic/fp8.ts'
import { f16 } from '../arithmetic/half-vectors.ts'
import type { FunctionBuilder, Local } from '../wasm/function.ts'
import type { V128 } from '../wasm/operations.ts'

/** Types of the elements of a matrix operand. */
export type MatrixElement = 's8' | 'u8' | 'f16' | 'bf16' | 'e4m3' | 'e5m2'

/** Vector t of the result holds word t of each of the four rows. */
export function transposeWords(w: FunctionBuilder, rows: readonly Local<'v128'>[]): Local<'v128'>[] {
  const low = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23]
  const high = low.map((byte) => byte + 8)
  const lowHalves = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]
  const highHalves = lowHalves.map((byte) => byte + 8)
  const pick = (x: Local<'v128'>, y: Local<'v128'>, lanes: readonly number[]): Local<'v128'> =>
    w.let(w.i8x16.shuffle(w.get(x), w.get(y), lanes))
  const [a, b, c, d] = rows as [Local<'v128'>, Local<'v128'>, Local<'v128'>, Local<'v128'>]
  const words01 = [pick(a, b, low), pick(c, d, low)] as const
  const words23 = [pick(a, b, high), pick(c, d, high)] as const
  const result = [
    pick(words01[0], words01[1], lowHalves),
    pick(words01[0], words01[1], highHalves),
    pick(words23[0], words23[1], lowHalves),
    pick(words23[0], words23[1], highHalves),
  ]
  w.release(...words01, ...words23)
  return result
}

/** Vectors that `splitWords` makes of one. */
export function partsOf(element: MatrixElement): 2 | 4 {
  return element === 'e4m3' || element === 'e5m2' ? 4 : 2
}

/**
 * The operand vectors of four words, which multiplications then take: of 8-bit integers, one with the pairs of bytes 0
 * and 2 of each word as 16-bit integers, one with bytes 1 and 3; of floats, one f32 vector for each place in a word.
 */
export function splitWords(
  w: FunctionBuilder,
  element: MatrixElement,
  words: Local<'v128'>,
): readonly Local<'v128'>[] {
  const upperHalf = (): V128 => w.v128.and(w.get(words), w.i32x4.splat(w.i32.const(0xffff0000)))
  const lowerHalf = (): V128 => w.i32x4.shl(w.get(words), w.i32.const(16))
  const upTo = (byte: number): V128 => w.i32x4.shl(w.get(words), w.i32.const(24 - 8 * byte))
  const topByte = (byte: number): V128 => w.v128.and(upTo(byte), w.i32x4.splat(w.i32.const(0xff000000)))
  switch (element) {
    case 's8':
      return [
        w.let(w.i16x8.shr_s(w.i16x8.shl(w.get(words), w.i32.const(8)), w.i32.const(8))),
        w.let(w.i16x8.shr_s(w.get(words), w.i32.const(8))),
      ]
    case 'u8':
      return [
        w.let(w.v128.and(w.get(words), w.i16x8.splat(w.i32.const(0xff)))),
        w.let(w.i16x8.shr_u(w.get(words), w.i32.const(8))),
      ]
    case 'bf16':
      return [w.let(lowerHalf()), w.let(upperHalf())]
    case 'f16':
      return [w.let(f16.widen(w, lowerHalf())), w.let(f16.widen(w, upperHalf()))]
    default:
      return [0, 1, 2, 3].map((byte) => w.let(fp8Formats[element].widen(w, topByte(byte))))
  }
}
