import {
  type f32,
  type i32,
  laneIdx,
  loadWords,
  shuffleXor,
  storeWords,
  type u32,
  warpIdx,
} from '../../dsl/index.ts'
import { fragmentToken } from './arithmetic.ts'
import type { CopySource, Granules } from './decode-copies.ts'
import type { DecodeMemory } from './decode-memory.ts'
import type { DecodeConfig, DecodeShape } from './decode-shape.ts'

/** Everything that stays the same for a CTA. */
export interface Decode {
  readonly a: CopySource & { readonly window: i32 }
  readonly c: DecodeConfig
  readonly d: DecodeShape
  readonly m: DecodeMemory
  readonly granules: Granules
}

// ---- what a lane has ------------------------------------------------------------------------------------------------

/** The rows, 2t and 2t + 1 of a pass, whose scores a lane has. */
export const PAIR = [0, 1]

/** Token `i` of a lane's tokens: two of each 16. */
export const laneToken = (i: number): i32 => 16 * (i >> 1) + fragmentToken(8 * (i & 1)) + strandToken()

/** The part of it that depends on the lane: that of row g of a fragment. */
const strandToken = (): i32 => {
  const g = laneIdx >>> 2
  return 4 * (g >>> 1) + (g & 1)
}

/** The maximum over the strands of a unit. */
export const strandMax = (value: f32): f32 => overStrands(value, (x, y) => Math.max(x, y))

/** Sums of neighbouring strands, of pairs, and of halves. */
export const strandSum = (value: f32): f32 => overStrands(value, (x, y) => x + y)

function overStrands(value: f32, join: (x: f32, y: f32) => f32): f32 {
  let all = value
  for (const mask of [4, 8, 16]) all = join(all, shuffleXor(all, mask))
  return all
}

// ---- from lane to lane ----------------------------------------------------------------------------------------------

/** Word `word` of the four of part `part` that lane group `from` has for row `row`; xored for different banks. */
const wordAt = (part: i32, row: i32, from: i32, word: i32): i32 =>
  (part * 64 + row * 8 + (from ^ row)) * 4 + word

/** Puts down words of rows 2t and 2t + 1. */
export function giveRows({ m }: Decode, part: i32, word: i32, rows: readonly (readonly u32[])[]): void {
  rows.forEach((words, j) => {
    storeWords(m.exchange, [warpIdx, wordAt(part, 2 * (laneIdx & 3) + j, laneIdx >>> 2, word)], words)
  })
}

/** `n` of the words that lane group `from` has put down of row g. */
export const takeRow = ({ m }: Decode, part: i32, from: i32, word: i32, n: number): u32[] =>
  loadWords(m.exchange, [warpIdx, wordAt(part, laneIdx >>> 2, from, word)], n)
