import { permuteBytes } from '../intrinsics.ts'
import { type i32, u32 } from '../scalars.ts'

/** Four bytes in a 32-bit register, lowest byte first: what quantized kernels compute on before an integer MMA. */

/** Four copies of a byte (0 to 255). */
export const replicateByte = (byte: u32): u32 => byte * 0x01010101

/** Four copies of byte `i` (static, 0 to 3) of a word: one instruction. */
export const byteOf = (word: u32, i: number): u32 => permuteBytes(word, 0, i * 0x1111)

/** The low nibbles of four bytes, one to a byte. */
export const lowNibbles = (word: u32): u32 => word & 0x0f0f0f0f

/** The high nibbles of four bytes, one to a byte. */
export const highNibbles = (word: u32): u32 => (word >>> 4) & 0x0f0f0f0f

/** The sum of each byte, modulo 256: the lower seven bits cannot carry into the next byte, the top bit adds by xor. */
export const addBytes = (a: u32, b: u32): u32 =>
  ((a & 0x7f7f7f7f) + (b & 0x7f7f7f7f)) ^ ((a ^ b) & 0x80808080)

/** The difference of each byte as a signed byte, for bytes below 128: the guard bit keeps a borrow in its byte. */
export const subtractBytes = (a: u32, b: u32): u32 => ((a | 0x80808080) - b) ^ 0x80808080

/** Four words as the rows of a 4×4 matrix of bytes: its columns. */
export function transposeBytes(a: u32, b: u32, c: u32, d: u32): [u32, u32, u32, u32] {
  const [lowAb, highAb] = [permuteBytes(a, b, 0x5140), permuteBytes(a, b, 0x7362)]
  const [lowCd, highCd] = [permuteBytes(c, d, 0x5140), permuteBytes(c, d, 0x7362)]
  return [
    permuteBytes(lowAb, lowCd, 0x5410),
    permuteBytes(lowAb, lowCd, 0x7632),
    permuteBytes(highAb, highCd, 0x5410),
    permuteBytes(highAb, highCd, 0x7632),
  ]
}

/** The low bytes of four integers in one word. */
export function packBytes(b0: i32, b1: i32, b2: i32, b3: i32): u32 {
  const low = permuteBytes(u32(b0), u32(b1), 0x0040)
  const high = permuteBytes(u32(b2), u32(b3), 0x0040)
  return permuteBytes(low, high, 0x5410)
}
