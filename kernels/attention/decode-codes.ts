import {
  atoms,
  each,
  f16x2,
  f32,
  i32,
  laneIdx,
  loadWords,
  mma,
  permuteBytes,
  range,
  regs,
  shuffleXor,
  u32,
  unpack2,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { highNibbles, lowNibbles } from '../../dsl/std/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { KEYS, quadSwizzle } from '../formats/kv-pages.ts'
import { score, UNIT } from './arithmetic.ts'
import type { Cursor } from './decode-copies.ts'
import { type Decode, LANE_TOKENS, laneToken } from './decode-lanes.ts'
import { partOf } from './decode-memory.ts'
import { type DecodeShape, WARP_TOKENS, WARPS } from './decode-shape.ts'

/**
 * The two products of coded keys and values, whose sums are exact integers. A query's integers and probabilities have two
 * bytes each, which are two columns of the products: side by side in one MMA where rows are four at most (`paired`), so that a
 * lane has both sums of its row, and in an MMA each otherwise.
 */

const PARTS = [0, 1]

/** Pages that a warp's tokens lie in: two warps share one. */
const pageOfWarp = (): i32 => (WARP_TOKENS * warpIdx) >>> Math.log2(PAGE_TOKENS)
const tokenInPage = (): i32 => (WARP_TOKENS * warpIdx) & (PAGE_TOKENS - 1)

/** Scale and minimum of token `i` of the lane's. */
export function paramsOf({ ring }: Decode, at: Cursor, block: number, i: number): u32 {
  const token = tokenInPage() + laneToken(i)
  return loadWords(ring.params!, [at.stage, pageOfWarp(), block, 2 * token], 1)[0]!
}

/** Scale and minimum. */
export function floatsOf(params: u32): readonly [f32, f32] {
  const [scale, min] = unpack2(f16x2.bits(params))
  return [f32(scale), f32(min)]
}

// ---- scores ---------------------------------------------------------------------------------------------------------

/** A column's query as fragments: of each MMA of a step its words. */
export type CodedQuery = readonly (readonly u32[])[]

export function loadCodedQuery({ c, d, m }: Decode): CodedQuery {
  const g = laneIdx >>> 2
  const words = c.D / 16
  const place = (laneIdx & 3) * words
  if (d.paired) {
    const row = Math.min(g >>> 1, c.rows - 1)
    return [loadWords(m.queries, [row, partOf(c.D, g & 1) + place], words)]
  }
  return each(d.sides, (side) => {
    const row = Math.min(8 * side + g, c.rows - 1)
    return PARTS.map((part) => loadWords(m.queries, [row, partOf(c.D, i32(part)) + place], words))
  }).flat()
}

/** Scores of the lane's tokens and rows, [row][token]; `sums` are those of the queries' integers. */
export function scoreCodes(o: Decode, at: Cursor, query: CodedQuery, sums: readonly f32[]): f32[][] {
  const tiles = multiplyKeys(o, at, query)
  const params = each(LANE_TOKENS, (i) => floatsOf(paramsOf(o, at, KEYS, i)))
  return sums.map((sum, j) =>
    params.map(([scale, min], i) => score(tiles[i >> 1]![j]![i & 1]!, scale, min, sum)),
  )
}

/** Σ Q·code of the warp's tokens: [16 tokens][row][rows g and g + 8 of the fragment]. */
function multiplyKeys({ c, d, ring }: Decode, at: Cursor, query: CodedQuery): i32[][][] {
  const rowBytes = (c.D * d.bits) / 8
  const first = (laneIdx & 3) * (rowBytes / 4)
  const keys = each(LANE_TOKENS, (i) =>
    loadWords(
      ring.data,
      [at.slot, pageOfWarp(), (tokenInPage() + laneToken(i)) * rowBytes + first],
      rowBytes / 16,
    ),
  )
  const tiles = each(WARP_TOKENS / 16, () => query.map(() => regs(4, i32(0))))
  // Tiles take turns, for a product waits for the one before it.
  for (const step of unroll(c.D / 32)) {
    tiles.forEach((parts, tile) => {
      const [upper, lower] = [keys[2 * tile]!, keys[2 * tile + 1]!]
      const [near, far] = d.bits === 4 ? [step, step] : [2 * step, 2 * step + 1]
      const codes =
        d.bits === 4
          ? [
              ...[lowNibbles(upper[near]!), lowNibbles(lower[near]!)],
              ...[highNibbles(upper[far]!), highNibbles(lower[far]!)],
            ]
          : [upper[near]!, lower[near]!, upper[far]!, lower[far]!]
      parts.forEach((acc, part) => {
        const words = query[part]!
        mma(atoms.m16n8k32.u8s8, acc, codes, [words[2 * step]!, words[2 * step + 1]!])
      })
    })
  }
  return tiles.map((parts) => {
    const both = parts[0]!
    if (d.paired) return [[0, 1].map((half) => both[2 * half]! * 128 + both[2 * half + 1]!)]
    return each(d.laneRows, (row) => {
      const [high, low] = partsOfRow(parts, row)
      return [0, 1].map((half) => high[2 * half + (row & 1)]! * 128 + low[2 * half + (row & 1)]!)
    })
  })
}

/** The sums of a lane's row for both bytes, of those of all sides. */
const partsOfRow = <T>(parts: readonly T[], row: number): readonly [T, T] => [
  parts[2 * (row >> 1)]!,
  parts[2 * (row >> 1) + 1]!,
]

// ---- probabilities --------------------------------------------------------------------------------------------------

/**
 * The word of an operand in which column `column` has the four tokens of quad `quad` of 32, of step `step`: the two words that
 * a lane takes of a step are neighbours.
 */
const operandWord = (part: number, step: i32, quad: i32, column: i32): i32 =>
  part * ((UNIT * 8) / 4) + ((step * 4 + (quad & 3)) * 8 + column) * 2 + (quad >>> 2)

/**
 * Gives the lane's probabilities, as `probabilityBits`, [row][token], to the warps that multiply them. Neighbouring lane
 * groups have tokens of the same quads in turns: one makes the words of the lower 16 tokens, the other of the upper.
 */
export function giveCodes({ d, m }: Decode, rows: readonly (readonly u32[])[]): void {
  const g = laneIdx >>> 2
  const isOdd = (g & 1) !== 0
  const quad = 4 * (g & 1) + (g >>> 1)
  // Bytes 0 and 2 are the even lane group's tokens, 1 and 3 the odd one's.
  const lowBytes = isOdd ? u32(0x2604) : u32(0x6240)
  const highBytes = isOdd ? u32(0x3715) : u32(0x7351)
  rows.forEach((bits, j) => {
    const [lower, upper] = [0, 1].map((tile) => permuteBytes(bits[2 * tile]!, bits[2 * tile + 1]!, 0x5410))
    const own = isOdd ? upper! : lower!
    const other = shuffleXor(isOdd ? lower! : upper!, 4)
    const high = permuteBytes(own, other, highBytes)
    const low = permuteBytes(own, other, lowBytes)
    const t = laneIdx & 3
    const place = (part: number) =>
      d.paired
        ? operandWord(0, warpIdx, quad, 2 * t + part)
        : operandWord(2 * (j >> 1) + part, warpIdx, quad, 2 * t + (j & 1))
    m.operand.put(high, place(0))
    m.operand.put(low, place(1))
  })
}

/** Products of a fragment: with both bytes at once, or with one byte of a side's rows each. */
const products = ({ paired, sides }: DecodeShape): number => (paired ? 1 : PARTS.length * sides)

/** The words of step `step`: of each MMA two. */
function takeCodes({ d, m }: Decode, step: i32): u32[][] {
  return each(products(d), (part) =>
    loadWords(m.operand, [operandWord(part, step, laneIdx & 3, laneIdx >>> 2)], 2),
  )
}

// ---- values ---------------------------------------------------------------------------------------------------------

/** Neighbouring columns below D/2 that a lane reads of four tokens: D/2 further on are those of row g + 8 of a fragment. */
interface ColumnRun {
  readonly words: number
  readonly column: i32
  /** Whether the warp has these columns, or a copy of some others. */
  readonly isOwn: boolean
}

/** The lane's columns: a fragment of 16 for each. */
export function columnRuns(D: number): ColumnRun[] {
  const g = laneIdx >>> 2
  if (D % 64 === 0) {
    const words = D / 64
    return [{ words, column: (8 * warpIdx + g) * words, isOwn: true }]
  }
  // What is left over of eights goes to the first warps.
  const all = D / 16
  return each(Math.ceil(all / WARPS), (i) => {
    const isOwn = i * WARPS + warpIdx < all
    return { words: 1, column: 8 * (isOwn ? i * WARPS + warpIdx : warpIdx) + g, isOwn }
  })
}

/**
 * Sums of values of the unit's tokens `from`…`end`, exactly: [row][fragment][rows g and g + 8]. Those of upper nibbles are 16
 * times what they stand for. The values begin at page `firstPage` of the slot.
 */
export function multiplyValueCodes(o: Decode, at: Cursor, from: i32, end: i32, firstPage: i32): i32[][][] {
  const { c, d, ring } = o
  const t = laneIdx & 3
  const quadBytes = (c.D * d.bits) / 2
  const runs = columnRuns(c.D)
  const byteOf = (column: i32) =>
    t * quadBytes + (((column >>> 2) ^ quadSwizzle(c.D, t)) << 4) + (column & 3) * 4
  const places = runs.map(({ column }) => ({ first: byteOf(column), second: byteOf(column + c.D / 2) }))
  const sums = each(products(d), () => each(d.tiles, () => regs(4, i32(0))))

  const addStep = (step: i32, firstPage: i32) => {
    const operands = takeCodes(o, step)
    const page = firstPage + (step >>> 1)
    const inPage = (step & 1) * 8
    let fragment = 0
    runs.forEach(({ words }, i) => {
      const [near, far] = [0, 4].map((quad) => {
        const load = (place: i32) =>
          loadWords(ring.data, [at.slot, page, place + (inPage + quad) * quadBytes], words)
        const first = load(places[i]!.first)
        // Upper nibbles stay where they are.
        if (d.bits === 4)
          return { first: first.map(lowNibbles), second: first.map((word) => word & 0xf0f0f0f0) }
        return { first, second: load(places[i]!.second) }
      })
      for (const word of unroll(words)) {
        const codes = [near!.first[word]!, near!.second[word]!, far!.first[word]!, far!.second[word]!]
        operands.forEach((operand, part) => {
          mma(atoms.m16n8k32.u8u8, sums[part]![fragment]!, codes, operand)
        })
        fragment += 1
      }
    })
  }
  if (from < 32 && end > UNIT - 32) for (const step of unroll(UNIT / 32)) addStep(i32(step), i32(0))
  else for (const step of range(from >>> 5, (end + 31) >>> 5)) addStep(step, firstPage)

  const halves = [0, 1]
  if (d.paired)
    return [sums[0]!.map((acc) => halves.map((half) => acc[2 * half]! * 256 + acc[2 * half + 1]!))]
  return each(d.laneRows, (row) => {
    const [highs, lows] = partsOfRow(sums, row)
    const at = (half: number) => 2 * half + (row & 1)
    return highs.map((high, tile) => halves.map((half) => high[at(half)]! * 256 + lows[tile]![at(half)]!))
  })
}
