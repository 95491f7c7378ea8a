import { fragmentOrder } from '../../dsl/atoms/fragment-order.ts'
import { mma } from '../../dsl/atoms/index.ts'
import type { WeightFormat } from '../../dsl/format.ts'
import { checkMatrix, orderWords, unorderWords, wordsOf } from './fragment-words.ts'

const COLUMNS = 32

/** Weights as f16 or bf16 beside activations of the same type; a code is the 16 bits of the float. */
export const w16: WeightFormat<Uint16Array> = {
  name: 'w16',
  bits: 16,
  group: 0,
  tag: 'mma-w16',
  columns: COLUMNS,
  loads: 2,
  layout: (N, K) => fragmentOrder(mma.m16n8k16.f16, Math.ceil(N / 16) * 16, K, 16),
  pack(codes, N, K) {
    checkMatrix({ name: 'w16', columns: COLUMNS, group: 0 }, codes.length, N, K)
    return orderWords(wordsOf(codes), N, K / 2)
  },
  unpack: (words, N, K) => new Uint16Array(unorderWords(words, N, K / 2).buffer),
  atom: (x) => (x === 'bf16' ? mma.m16n8k16.bf16 : mma.m16n8k16.f16),
  fragments: (words) => [words.slice(0, 4), words.slice(4, 8)],
  operand: (code) => code,
}
