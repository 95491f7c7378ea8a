import {
  type f32,
  type i32,
  laneIdx,
  loadWords,
  shuffleXor,
  storeWords,
  syncWarp,
  type u32,
  warpIdx,
} from '../../dsl/index.ts'
import { fragmentToken, UNIT } from './arithmetic.ts'
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

/** Tokens of a unit that a lane has scores of. */
export const LANE_TOKENS = UNIT / 8

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

/** Four words of a row, in two parts, that a lane group has made. */
export type RowWords = readonly [readonly u32[], readonly u32[]]

/** Where row `row` of part `part` from lane group `from` lies; xored so that lanes meet different banks on both sides. */
const chunkAt = (part: number, row: i32, from: i32) => (part * 64 + row * 8 + (from ^ row)) * 4

/** Puts down what lanes have of rows 2t and 2t + 1. */
export function giveRows({ m }: Decode, rows: readonly RowWords[]): void {
  rows.forEach((parts, j) => {
    parts.forEach((words, part) => {
      storeWords(m.exchange, [warpIdx, chunkAt(part, 2 * (laneIdx & 3) + j, laneIdx >>> 2)], words)
    })
  })
  syncWarp()
}

/** What lane group `from` has put down of row g. */
export const takeRow = ({ m }: Decode, part: number, from: i32): u32[] =>
  loadWords(m.exchange, [warpIdx, chunkAt(part, laneIdx >>> 2, from)], 4)
