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
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { UNIT } from './arithmetic.ts'
import type { Cursor } from './decode-copies.ts'
import { type Decode, laneToken } from './decode-lanes.ts'
import { WARP_TOKENS, WARPS } from './decode-shape.ts'

/**
 * The two products of 16-bit keys and values, summed in f32 by tensor cores, 16 columns or tokens at a time in ascending
 * order. Of each 32 columns a lane has eight neighbours, which are two steps' words of a row.
 */

/** Words of a lane's part of a row. */
const rowWords = (D: number) => D / 8

/** Row g's query of each side: four words of each 32 columns. */
export function loadFloatQuery({ c, d, m }: Decode): u32[][] {
  const first = 4 * (laneIdx & 3)
  return each(d.sides, (side) => {
    const row = Math.min(8 * side + (laneIdx >>> 2), c.rows - 1)
    return each(c.D / 32, (block) => loadWords(m.queries, [row, 16 * block + first], 4)).flat()
  })
}

/** Scores of the lane's tokens and rows, [row][token]. */
export function scoreFloats(o: Decode, at: Cursor, queries: readonly (readonly u32[])[]): f32[][] {
  const { c, d, ring } = o
  const page = (WARP_TOKENS * warpIdx) >>> Math.log2(PAGE_TOKENS)
  const inPage = (WARP_TOKENS * warpIdx) & (PAGE_TOKENS - 1)
  const tiles = each(WARP_TOKENS / 16, (tile) => {
    const [upper, lower] = [0, 1].map((half) => {
      const from = (inPage + laneToken(2 * tile + half)) * c.D + 8 * (laneIdx & 3)
      return each(c.D / 32, (block) => loadWords(ring.data, [at.slot, page, from + 32 * block], 4)).flat()
    })
    const sides = queries.map(() => regs(4, f32(0)))
    for (const near of unroll(0, rowWords(c.D), 2)) {
      const keys = [upper![near]!, lower![near]!, upper![near + 1]!, lower![near + 1]!]
      sides.forEach((acc, side) => {
        const query = queries[side]!
        mma(atoms.m16n8k16[c.dtype], acc, keys, [query[near]!, query[near + 1]!])
      })
    }
    return sides
  })
  return each(d.laneRows, (row) =>
    tiles.flatMap((sides) => {
      const acc = sides[row >> 1]!
      return [acc[row & 1]!, acc[2 + (row & 1)]!]
    }),
  )
}

/** Two numbers in a 16-bit type, the first in the lower half. */
export const packPair = (dtype: 'f16' | 'bf16', low: f32, high: f32): u32 =>
  dtype === 'f16' ? u32.bits(packF16(low, high)) : u32.bits(packBf16(low, high))

/** The word in which column `column` has the two tokens of lane group `group`, of 16 tokens. */
const operandWord = (side: number, tile: i32, group: i32, column: i32): i32 =>
  side * (UNIT * 4) + (tile * 8 + group) * 8 + column

/** Gives the lane's probabilities, [row][token], to the warps that multiply them: a word of two tokens for each 16. */
export function giveFloats({ c, d, m }: Decode, rows: readonly (readonly f32[])[]): void {
  for (const tile of unroll(WARP_TOKENS / 16)) {
    const words = rows.map((row) => packPair(c.dtype, row[2 * tile]!, row[2 * tile + 1]!))
    for (const side of unroll(d.sides)) {
      const at = operandWord(side, (WARP_TOKENS / 16) * warpIdx + tile, laneIdx >>> 2, 2 * (laneIdx & 3))
      storeWords(m.operand, [at], words.slice(2 * side, 2 * side + 2))
    }
  }
}

/** Fragments of 16 columns that a warp has, and whether it has the last of them. */
export const ownTiles = (D: number, tiles: number) =>
  each(tiles, (i) => {
    const tile = i * WARPS + warpIdx
    const isOwn = tile < D / 16
    return { tile: isOwn ? tile : i32OfWarp(), isOwn }
  })

const i32OfWarp = (): i32 => warpIdx

/** Sums of values of the unit's tokens `from`…`end`, from zero: [row][fragment][rows g and g + 8]. */
export function multiplyValues(o: Decode, at: Cursor, from: i32, end: i32, firstPage: i32): f32[][][] {
  const { c, d, m, ring } = o
  const sums = each(d.sides, () => each(d.tiles, () => regs(4, f32(0))))
  const tiles = ownTiles(c.D, d.tiles)
  // Lanes give the rows of four 8x8 tiles: eight tokens (in the order of the operand), eight columns, and so on.
  const inTile = laneIdx & 7
  const order = ((laneIdx & 16) >>> 1) + inTile
  const token = 4 * (order >>> 2) + ((order >>> 1) & 1) + 2 * (order & 1)
  const column = laneIdx & 8
  const [g, t] = [laneIdx >>> 2, laneIdx & 3]
  for (const step of range(from >>> 4, (end + 15) >>> 4)) {
    // k = 2G and 2G + 1 are the two tokens of lane group G.
    const weights = each(d.sides, (side) =>
      [t, t + 4].map((group) => m.operand.at(operandWord(side, step, group, g))),
    )
    const page = firstPage + (step >>> 2)
    const first = (16 * (step & 3) + token) * c.D + column
    tiles.forEach(({ tile }, i) => {
      const values = ldmatrix(ring.data, [at.slot, page, first + 16 * tile], 4, { transposed: true })
      weights.forEach((own, side) => {
        mma(atoms.m16n8k16[c.dtype], sums[side]![i]!, values, own)
      })
    })
  }
  return each(d.laneRows, (row) => sums[row >> 1]!.map((acc) => [acc[row & 1]!, acc[2 + (row & 1)]!]))
}

/**
 * Zeros for values that no query sees, which may be anything: a probability of 0 would not save a sum from what is not a
 * number. Each warp clears those of its tokens; a barrier must follow.
 */
export function clearUnseen({ c, ring }: Decode, at: Cursor, from: i32, end: i32, firstPage: i32): void {
  const first = WARP_TOKENS * warpIdx
  for (const i of range(WARP_TOKENS)) {
    const token = first + i
    // Others are not read.
    const isRead = token >= (from & ~15) && token < ((end + 15) & ~15)
    if (isRead && (token < from || token >= end)) {
      const page = firstPage + (token >>> Math.log2(PAGE_TOKENS))
      const inPage = (token & (PAGE_TOKENS - 1)) * c.D
      for (const turn of unroll(Math.ceil(c.D / 64))) {
        const word = laneIdx + 32 * turn
        if (c.D % 64 === 0 || word < c.D / 2)
          storeWords(ring.data, [at.slot, page, inPage + 2 * word], [u32(0)])
      }
    }
  }
  // The next copy into this place is the copy engine's.
  if (ring.full !== undefined) fenceAsync()
}
