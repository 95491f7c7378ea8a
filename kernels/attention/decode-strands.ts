import {
  each,
  f32,
  fma,
  i32,
  laneIdx,
  load,
  loadWords,
  reduxMax,
  shuffleXor,
  store,
  type u32,
  unroll,
} from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { VALUES } from '../formats/kv-pages.ts'
import { NO_REFERENCE, rescale, SMALLEST_SCALE, STRANDS, UNIT, valueRate, valueStep } from './arithmetic.ts'
import { floatsOf } from './decode-codes.ts'
import { type Cursor, waitBlock } from './decode-copies.ts'
import { type Decode, LANE_TOKENS, rowsShare } from './decode-lanes.ts'
import { strandPlace } from './decode-memory.ts'
import { WARPS } from './decode-shape.ts'

/** What the warp does that copies: sums of probabilities, and what the scales of a unit's values come to. */

/** A row's sums so far, which eight lanes have: of probabilities, and of them times the values' minima. */
interface RowStrands {
  reference: f32
  total: f32
  offset: f32
}

/** Of four rows each. */
export type StrandSums = RowStrands[]

export const noStrands = ({ c }: Decode): StrandSums =>
  each(Math.ceil(c.rows / 4), () => ({ reference: f32(NO_REFERENCE), total: f32(0), offset: f32(0) }))

export function clearStrands(sums: StrandSums): void {
  for (const row of sums) {
    row.reference = NO_REFERENCE
    row.total = 0
    row.offset = 0
  }
}

function addRow(sums: RowStrands, reference: f32, total: f32, offset: f32): void {
  const change = rescale(sums.reference, reference)
  sums.reference = change.reference
  sums.total = fma(total, change.factor, sums.total * change.keep)
  sums.offset = fma(offset, change.factor, sums.offset * change.keep)
}

/** Adds a split's sums to those of the splits before, and clears them. */
export function addSplitStrands(total: StrandSums, split: StrandSums): void {
  total.forEach((row, i) => {
    addRow(row, split[i]!.reference, split[i]!.total, split[i]!.offset)
  })
  clearStrands(split)
}

/** Adds up a unit's probabilities, and their products with minima, a lane for each row and strand. */
export function addStrands({ d, m }: Decode, sums: StrandSums): void {
  const strand = laneIdx & (STRANDS - 1)
  sums.forEach((all, four) => {
    const row = 4 * four + (laneIdx >>> 3)
    let total: f32 = 0
    let offset: f32 = 0
    for (const warp of unroll(WARPS)) {
      const own = load(m.strands, [row, strandPlace(row, strand, i32(warp))], LANE_TOKENS)
      for (const p of own) total = total + p
      if (d.bits < 16) {
        const minima = load(m.minima, [strandPlace(i32(0), strand, i32(warp))], LANE_TOKENS)
        own.forEach((p, i) => {
          offset = fma(p, minima[i]!, offset)
        })
      }
    }
    for (const mask of [1, 2, 4]) {
      total = total + shuffleXor(total, mask)
      if (d.bits < 16) offset = offset + shuffleXor(offset, mask)
    }
    addRow(all, m.references.at(row), total, offset)
  })
}

/** Puts down the rows' sums for all warps; a barrier must follow. */
export function giveRowSums({ m }: Decode, sums: StrandSums): void {
  if ((laneIdx & (STRANDS - 1)) === 0) {
    sums.forEach(({ total, offset }, four) => {
      store(m.rowSums, [4 * four + (laneIdx >>> 3), 0], [total, offset])
    })
  }
}

/** Gives what the scales of a unit's values are multiplied by, where all rows see the same tokens. */
export function giveValueRate(o: Decode, at: Cursor, from: i32, end: i32): void {
  const { d, m, ring } = o
  if (d.bits === 16 || !rowsShare(o)) return
  waitBlock(ring, at)
  const tokens = UNIT / 32
  const first = tokens * laneIdx
  const inPage = first & (PAGE_TOKENS - 1)
  // Scales are not negative, so that their bits are in their order.
  let largest: u32 = 0
  if (first < end && first + tokens > from) {
    const page = first >>> Math.log2(PAGE_TOKENS)
    loadWords(ring.params!, [at.stage, page, VALUES, 2 * inPage], tokens).forEach((word, i) => {
      const isSeen = first + i >= from && first + i < end
      largest = Math.max(largest, isSeen ? word & 0x7fff : 0)
    })
  }
  const [scale] = floatsOf(reduxMax(largest))
  const top = Math.max(scale, SMALLEST_SCALE)
  if (laneIdx === 0) store(m.valueRate, [0], [valueRate(top), valueStep(top)])
}
