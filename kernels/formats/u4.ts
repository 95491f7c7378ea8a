import { mma } from '../../dsl/atoms/index.ts'
import { unitOrder, type WeightFormat } from '../../dsl/format.ts'
import { checkMatrix, packUnits, unpackUnits, wordsOf } from './units.ts'

/** The nibbles of four bytes that hold codes of 4 bits. */
const LOW = 0x0f0f0f0f

/** The shape of every format of 4-bit codes beside 8-bit activations: a load holds two k-steps. */
export const u4Shape = { bits: 4, loads: 2, steps: 4 } as const

type Shape = Pick<WeightFormat, 'name' | 'bits' | 'loads' | 'steps' | 'group' | 'groupWords'>

/** Where the codes lie: the low nibbles are those of the first k-step of a load. */
export const u4Layout = (format: Shape): WeightFormat['layout'] => {
  return (N, K) => unitOrder(format, mma.m16n8k32.u8s8, N, K)
}

/** Packs codes of 4 bits, one to a byte; the words of parameters are left 0. */
export function packU4(format: Shape, codes: Uint8Array, N: number, K: number): Uint32Array {
  checkMatrix(format, codes.length, N, K)
  const words = wordsOf(codes)
  const rowWords = K / 4
  return packUnits(format, N, K, (row, n) => {
    const from = n * rowWords
    for (let i = 0; i < rowWords; i++) row[i] = words[from + i]! & LOW
  })
}

/** The inverse of `packU4`. */
export function unpackU4(format: Shape, words: Uint32Array, N: number, K: number): Uint8Array {
  const codes = new Uint32Array((N * K) / 4)
  const rowWords = K / 4
  unpackUnits(format, words, N, K, LOW, (row, n) => codes.set(row.subarray(0, rowWords), n * rowWords))
  return new Uint8Array(codes.buffer)
}
