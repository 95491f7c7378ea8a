import { fragmentOrder } from '../../dsl/atoms/fragment-order.ts'
import { mma } from '../../dsl/atoms/index.ts'
import type { WeightFormat } from '../../dsl/format.ts'
import { checkMatrix, orderWords, unorderWords, wordsOf } from './fragment-words.ts'

const COLUMNS = 64

/** Per-channel signed bytes beside 8-bit activations: w = s1[n] · q, q from −127 to 127, s1 fp16. */
export const w8a8: WeightFormat<Int8Array> = {
  name: 'w8a8',
  bits: 8,
  group: 0,
  tag: 'mma-w8',
  columns: COLUMNS,
  loads: 2,
  layout: (N, K) => fragmentOrder(mma.m16n8k32.s8s8, Math.ceil(N / 16) * 16, K, 8),
  pack(codes, N, K) {
    checkMatrix({ name: 'w8a8', columns: COLUMNS, group: 0 }, codes.length, N, K)
    return orderWords(wordsOf(codes), N, K / 4)
  },
  unpack: (words, N, K) => new Int8Array(unorderWords(words, N, K / 4).buffer),
  atom: () => mma.m16n8k32.s8s8,
  fragments: (words) => [words.slice(0, 4), words.slice(4, 8)],
  operand: (code) => code,
}
