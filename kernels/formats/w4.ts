import { fragmentOrder } from '../../dsl/atoms/fragment-order.ts'
import { mma } from '../../dsl/atoms/index.ts'
import type { WeightFormat } from '../../dsl/format.ts'
import type { Layout } from '../../dsl/index.ts'
import { checkMatrix, orderWords, unorderWords, wordsOf } from './fragment-words.ts'

/** What all formats of unsigned 4-bit codes beside 8-bit activations share: the packing. */
type Packing = Pick<
  WeightFormat<Uint8Array>,
  'bits' | 'tag' | 'columns' | 'loads' | 'layout' | 'pack' | 'unpack'
>

const CODES = 64
const CODE_WORDS = CODES / 4
const NIBBLE_WORDS = CODE_WORDS / 2
const LOW = 0x0f0f0f0f

/** 64 columns of a row become 32 bytes: columns 0 to 31 in the low nibbles, 32 to 63 in the high ones. */
function joinNibbles(codes: Uint32Array): Uint32Array {
  const joined = new Uint32Array(codes.length / 2)
  for (let from = 0, to = 0; from < codes.length; from += CODE_WORDS, to += NIBBLE_WORDS) {
    for (let i = 0; i < NIBBLE_WORDS; i++) {
      joined[to + i] = (codes[from + i]! & LOW) | ((codes[from + NIBBLE_WORDS + i]! & LOW) << 4)
    }
  }
  return joined
}

function splitNibbles(joined: Uint32Array): Uint32Array {
  const codes = new Uint32Array(joined.length * 2)
  for (let from = 0, to = 0; from < joined.length; from += NIBBLE_WORDS, to += CODE_WORDS) {
    for (let i = 0; i < NIBBLE_WORDS; i++) {
      codes[to + i] = joined[from + i]! & LOW
      codes[to + NIBBLE_WORDS + i] = (joined[from + i]! >>> 4) & LOW
    }
  }
  return codes
}

const stripRows = (N: number): number => Math.ceil(N / 16) * 16

export const w4Packing = (name: string, group: number): Packing => ({
  bits: 4,
  tag: 'mma-w4',
  columns: CODES,
  loads: 1,
  layout: (N, K): Layout => fragmentOrder(mma.m16n8k32.u8s8, stripRows(N), K, 4),
  pack(codes, N, K) {
    checkMatrix({ name, columns: CODES, group }, codes.length, N, K)
    return orderWords(joinNibbles(wordsOf(codes)), N, K / 8)
  },
  unpack(words, N, K) {
    return new Uint8Array(splitNibbles(unorderWords(words, N, K / 8)).buffer)
  },
})
