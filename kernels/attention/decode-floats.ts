import {
  atoms,
  each,
  f32,
  fenceAsync,
  type i32,
  laneIdx,
  ldmatrix,
  loadWords,
  mma,
  packBf16,
  packF16,
  range,
  regs,
  storeWords,
  syncWarp,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import type { TileScores } from './decode-codes.ts'
import { granulesOf, hasEngine, leaveGranule, type Stream, waitGranule } from './decode-copies.ts'
import { type Decode, giveRows, laneToken, PAIR, takeRow } from './decode-lanes.ts'
import type { RoundUnit } from './rounds.ts'

/**
 * The two products of 16-bit keys and values, summed in f32 by tensor cores, 16 columns or tokens at a time in ascending
 * order. Of each 32 columns a lane has eight neighbours, which are two steps' words of a row.
 */

/** Words of a lane's part of a row. */
const rowWords = (D: number) => D / 8

/** Row g's query: four words of each 32 columns. */
export function loadFloatQuery({ c, d, m }: Decode, team: i32): u32[][] {
  const row = Math.min(laneIdx >>> 2, d.rows - 1)
  const first = 4 * (laneIdx & 3)
  return [each(c.D / 32, (block) => loadWords(m.queries, [team, row, 16 * block + first], 4)).flat()]
}

/** Scores of 16 tokens of the granule in hand. */
export function scoreFloats(
  { c, granules }: Decode,
  s: Stream,
  [query]: readonly (readonly u32[])[],
  tile: number,
): TileScores {
  const [upper, lower] = [0, 1].map((half) => {
    const from = laneToken(2 * tile + half) * c.D + 8 * (laneIdx & 3)
    return each(c.D / 32, (block) => loadWords(granules.data, [warpIdx, s.slot, from + 32 * block], 4)).flat()
  })
  const acc = regs(4, f32(0))
  for (const near of unroll(0, rowWords(c.D), 2)) {
    const keys = [upper![near]!, lower![near]!, upper![near + 1]!, lower![near + 1]!]
    mma(atoms.m16n8k16[c.dtype], acc, keys, [query![near]!, query![near + 1]!])
  }
  return { scores: acc, valueParams: [] }
}

/** Two numbers in a 16-bit type, the first in the lower half. */
export const packPair = (dtype: 'f16' | 'bf16', low: f32, high: f32): u32 =>
  dtype === 'f16' ? u32.bits(packF16(low, high)) : u32.bits(packBf16(low, high))

/** Gives a granule's probabilities of rows 2t and 2t + 1: a word of two tokens for each 16. */
export function giveFloats(o: Decode, granule: i32, rows: readonly (readonly f32[])[]): void {
  for (const tile of unroll(o.c.granule / 16)) {
    const at = granule * (o.c.granule / 16) + tile
    const words = rows.map((row) => [packPair(o.c.dtype, row[2 * tile]!, row[2 * tile + 1]!)])
    giveRows(o, at >>> 2, at & 3, words)
  }
}

/** As fragments of the second product, for 16 tokens: k = 2G and 2G + 1 are the two tokens of lane group G. */
function takeFloats(o: Decode, at: i32): u32[] {
  const t = laneIdx & 3
  return [t, t + 4].map((from) => takeRow(o, at >>> 2, from, at & 3, 1)[0]!)
}

/** Sums of values of the unit's tokens, of each row and column, from zero; stores them. */
export function multiplyValues(o: Decode, s: Stream, unit: RoundUnit): void {
  const { c, d, m } = o
  const sums = each(c.D / 16, () => regs(4, f32(0)))
  const { from, end } = granulesOf(c, unit.live)
  // Lanes give the rows of four 8x8 tiles: eight tokens (in the order of `takeFloats`), eight columns, and so on.
  const inTile = laneIdx & 7
  const order = ((laneIdx & 16) >>> 1) + inTile
  const token = 4 * (order >>> 2) + ((order >>> 1) & 1) + 2 * (order & 1)
  const column = laneIdx & 8

  for (const granule of range(from, end)) {
    waitGranule(c, o.granules, s)
    clearUnseen(o, s, unit, granule * c.granule)
    for (const step of unroll(c.granule / 16)) {
      const weights = takeFloats(o, granule * (c.granule / 16) + step)
      sums.forEach((acc, tile) => {
        const at = (16 * step + token) * c.D + 16 * tile + column
        mma(
          atoms.m16n8k16[c.dtype],
          acc,
          ldmatrix(o.granules.data, [warpIdx, s.slot, at], 4, { transposed: true }),
          weights,
        )
      })
    }
    leaveGranule(o.a, c, d, o.granules, s)
  }

  // Everybody has taken the probabilities, in whose place the sums go.
  syncWarp()
  const g = laneIdx >>> 2
  for (const j of PAIR) {
    const row = 2 * (laneIdx & 3) + j
    if (row < d.rows) {
      sums.forEach((acc, tile) => {
        for (const half of unroll(2))
          m.sums.put(acc[2 * half + j]!, warpIdx, row * d.sumPitch + 16 * tile + 8 * half + g)
      })
    }
  }
}

/**
 * Zeros for values of the granule in hand that no query sees, which may be anything: a probability of 0 would not save a
 * sum from what is not a number.
 */
function clearUnseen(o: Decode, s: Stream, unit: RoundUnit, first: i32): void {
  const { c } = o
  const [from, end] = [(unit.live & 0xffff) - first, (unit.live >>> 16) - first]
  if (from > 0 || end < c.granule) {
    for (const token of unroll(c.granule)) {
      if (token < from || token >= end) {
        for (const turn of unroll(Math.ceil(c.D / 64))) {
          const word = laneIdx + 32 * turn
          if (c.D % 64 === 0 || word < c.D / 2)
            storeWords(o.granules.data, [warpIdx, s.slot, token * c.D + 2 * word], [u32(0)])
        }
      }
    }
    // The next copy into this place is the copy engine's.
    if (hasEngine()) fenceAsync()
    syncWarp()
  }
}
