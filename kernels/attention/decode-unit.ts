import {
  each,
  f32,
  fma,
  i32,
  idiv,
  laneIdx,
  load,
  reduxMax,
  regs,
  shuffle,
  shuffleXor,
  store,
  threadIdx,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { KEYS, VALUES } from '../formats/kv-pages.ts'
import {
  EXPONENT_BIAS,
  NO_REFERENCE,
  probability,
  probabilityBits,
  rescale,
  SMALLEST_SCALE,
  STRANDS,
  UNIT,
  unitReference,
  valueRate,
  valueStep,
} from './arithmetic.ts'
import {
  type CodedQuery,
  floatsOf,
  giveCodes,
  loadCodedQuery,
  multiplyValueCodes,
  paramsOf,
  scoreCodes,
} from './decode-codes.ts'
import {
  type Cursor,
  copyTwo,
  nextBlock,
  releaseBlocks,
  type Stream,
  waitBlock,
  waitOwnCopies,
} from './decode-copies.ts'
import { clearUnseen, giveFloats, loadFloatQuery, multiplyValues, scoreFloats } from './decode-floats.ts'
import { type Decode, LANE_TOKENS, laneMax, laneRows, meet, unitToken } from './decode-lanes.ts'
import { strandPlace } from './decode-memory.ts'
import { WARP_TOKENS, WARPS } from './decode-shape.ts'
import { type ItemExtent, liveOf } from './items.ts'

/** What a lane keeps of the rows for an item. */
export interface ItemQuery {
  readonly words: CodedQuery
  /** Of each of the lane's rows the step of its query, and the sum of its integers. */
  readonly steps: readonly f32[]
  readonly sums: readonly f32[]
}

export function loadItemQuery(o: Decode): ItemQuery {
  const { c, d, m } = o
  const rows = laneRows(d).map((row) => Math.min(row, c.rows - 1))
  return {
    words: d.bits === 16 ? loadFloatQuery(o) : loadCodedQuery(o),
    steps: rows.map((row) => m.rowInfo.at(row, 0)),
    sums: rows.map((row) => m.rowInfo.at(row, 1)),
  }
}

/** A unit of the item at hand, for the rows of a pass. */
interface UnitWork {
  readonly extent: ItemExtent
  readonly pass: i32
  readonly unit: i32
}

/** Sums of a split so far. */
export interface SplitSums {
  /** Of the lane's rows, in units of 2^reference: sums of values, [row][fragment][rows g and g + 8]. */
  readonly references: f32[]
  readonly values: f32[][][]
  /** Of the row (of four) that eight lanes of a warp have: its reference, and sums of probabilities or of minima. */
  readonly strand: { reference: f32; sum: f32 }
}

export const noSums = ({ laneRows, tiles }: Decode['d']): SplitSums => ({
  references: regs(laneRows, f32(NO_REFERENCE)),
  values: each(laneRows, () => each(tiles, () => regs(2, f32(0)))),
  strand: { reference: f32(NO_REFERENCE), sum: f32(0) },
})

/** Adds a split's sums to those of the splits before, and clears them. */
export function addSplit({ d }: Decode, total: SplitSums, split: SplitSums): void {
  for (const j of unroll(d.laneRows)) {
    const change = rescale(total.references[j]!, split.references[j]!)
    total.references[j] = change.reference
    for (const tile of unroll(d.tiles)) {
      for (const half of unroll(2)) {
        const before = total.values[j]![tile]![half]! * change.keep
        total.values[j]![tile]![half] = fma(split.values[j]![tile]![half]!, change.factor, before)
      }
    }
  }
  const change = rescale(total.strand.reference, split.strand.reference)
  total.strand.reference = change.reference
  total.strand.sum = fma(split.strand.sum, change.factor, total.strand.sum * change.keep)
  clearSums(d, split)
}

export function clearSums(d: Decode['d'], sums: SplitSums): void {
  for (const j of unroll(d.laneRows)) {
    sums.references[j] = NO_REFERENCE
    for (const tile of unroll(d.tiles)) for (const half of unroll(2)) sums.values[j]![tile]![half] = 0
  }
  sums.strand.reference = NO_REFERENCE
  sums.strand.sum = 0
}

/**
 * A unit by all warps: each has the scores of a quarter of its tokens, and after all have met the sums of a quarter of the
 * columns of its values, which it adds to those of the units before.
 *
 * The cache is operand A of both products and rows the free side, so that whoever unpacks a code does it for all rows. In the
 * first a fragment's row is a token and k runs along the head; in the second a row is a column of the head and k runs along
 * tokens. Pages are made so that a lane's words of codes are fragments as they are. Between the two, probabilities change
 * lanes through shared memory.
 */
export function attendUnit(
  o: Decode,
  s: Stream | undefined,
  at: Cursor,
  query: ItemQuery,
  sums: SplitSums,
  work: UnitWork,
): void {
  const { a, c, d, ring } = o
  const { from, end } = liveOf(work.extent, work.unit)
  waitOwnCopies(ring, c.slots - 2)
  if (ring.full === undefined) meet()
  const { scores, params } = scoreUnit(o, at, query, work, from, end)
  giveTops(o, scores, params)
  meet()
  if (threadIdx.x === 0) releaseBlocks(ring, at)
  if (s !== undefined) copyTwo(a, c, d, ring, s)
  nextBlock(c, d, at, KEYS)
  const steps = giveProbabilities(o, query, scores, params)
  waitOwnCopies(ring, c.slots - 1)
  if (d.bits === 16 && (from > 0 || end < UNIT)) {
    if (ring.full === undefined) meet()
    waitBlock(ring, at)
    clearUnseen(o, at, from, end)
  }
  meet()

  addStrands(o, sums, steps)
  waitBlock(ring, at)
  const isCoded = d.bits < 16
  const values = isCoded
    ? multiplyValueCodes(o, at, from, end).map((row) => row.map((tile) => tile.map((sum) => f32(sum))))
    : multiplyValues(o, at, from, end)
  nextBlock(c, d, at, VALUES)
  for (const j of unroll(d.laneRows)) {
    const change = rescale(sums.references[j]!, steps.references[j]!)
    sums.references[j] = change.reference
    for (const tile of unroll(d.tiles)) {
      for (const half of unroll(2)) {
        // Sums of upper nibbles are 16 times what they stand for.
        const share = d.bits === 4 && half === 1 ? 1 / 16 : 1
        const factor = isCoded ? steps.values[j]! * share * change.factor : change.factor
        const before = sums.values[j]![tile]![half]! * change.keep
        sums.values[j]![tile]![half] = fma(values[j]![tile]![half]!, factor, before)
      }
    }
  }
}

/**
 * Scores of the lane's tokens, [row][token], and scale and minimum of their values, packed. What a row does not see has the
 * lowest score, and what no row sees has zeros, for it may be anything.
 */
function scoreUnit(
  o: Decode,
  at: Cursor,
  query: ItemQuery,
  { extent, pass, unit }: UnitWork,
  from: i32,
  end: i32,
): { readonly scores: f32[][]; readonly params: u32[] } {
  const { a, c, d } = o
  const isCoded = d.bits < 16
  const scores = each(d.laneRows, () => regs(LANE_TOKENS, f32(f32.lowest)))
  const params = regs(LANE_TOKENS, u32(0))
  const begin = WARP_TOKENS * warpIdx
  if (from < begin + WARP_TOKENS && end > begin) {
    waitBlock(o.ring, at)
    const all = isCoded ? scoreCodes(o, at, query.words, query.sums) : scoreFloats(o, at, query.words)
    for (const i of unroll(LANE_TOKENS)) {
      for (const j of unroll(d.laneRows)) scores[j]![i] = all[j]![i]!
      if (isCoded) params[i] = paramsOf(o, at, VALUES, i)
    }
    // Which tokens a row sees: all of them but in a sequence's last unit, and its first where a window begins.
    const first = unit * UNIT
    const position = extent.end - extent.count
    const isWhole = position - first >= UNIT - 1 && extent.end - a.window - first <= 0
    if (!isWhole) {
      const last = laneRows(d).map((row) => {
        const index = pass * c.rows + Math.min(row, c.rows - 1)
        return position + Math.min(i32(idiv(u32(index), u32(d.group))), extent.count - 1) - first
      })
      for (const i of unroll(LANE_TOKENS)) {
        const token = unitToken(i)
        const seen = last.map((l) => token <= l && token > l - a.window)
        seen.forEach((sees, j) => {
          scores[j]![i] = sees ? scores[j]![i]! : f32.lowest
        })
        if (isCoded) params[i] = token >= from && token < end ? params[i]! : 0
      }
    }
  }
  return { scores, params }
}

/** Whether all rows of a lane have one query token, and so see the same tokens; and whether all rows have. */
const lanesShare = ({ c, d }: Decode): boolean => d.laneRows === 1 || d.group % 2 === 0 || c.queries === 1
const rowsShare = ({ c }: Decode): boolean => c.queries === 1

/** Gives the largest score of the warp's tokens, and the largest scale of their values. */
function giveTops(o: Decode, scores: readonly f32[][], params: readonly u32[]): void {
  const { d, m } = o
  const rows = laneRows(d)
  const tops = scores.map((own) => laneMax(own.reduce((x, y) => Math.max(x, y))))
  const scales = params.map((word) => floatsOf(word)[0])
  const largest = rows.map((_, j) => {
    if (d.bits === 16 || (lanesShare(o) && j > 0)) return f32(0)
    if (rowsShare(o)) {
      // Scales are not negative, so that their bits are in their order.
      const all = reduxMax(params.map((word) => word & 0x7fff).reduce((x, y) => Math.max(x, y)))
      return floatsOf(all)[0]
    }
    const own = scales.map((scale, i) => (scores[j]![i]! > f32.lowest ? scale : f32(0)))
    return laneMax(own.reduce((x, y) => Math.max(x, y)))
  })
  if (laneIdx < 4) {
    rows.forEach((row, j) => {
      m.scoreTops.put(tops[j]!, row, warpIdx)
      if (d.bits < 16) m.valueTops.put(largest[lanesShare(o) ? 0 : j]!, row, warpIdx)
    })
  }
}

/** The largest of the four warps' numbers. */
const largestOf = (values: readonly f32[]): f32 =>
  Math.max(Math.max(values[0]!, values[1]!), Math.max(values[2]!, values[3]!))

/** What a unit's sums are multiplied by: of each of the lane's rows the reference, and the step of values. */
interface UnitSteps {
  readonly references: readonly f32[]
  readonly values: readonly f32[]
}

/**
 * Gives the probabilities of the lane's tokens to the warps that multiply them, as they are or times their values' scales as
 * integers, and to those that sum them by strands.
 */
function giveProbabilities(
  o: Decode,
  query: ItemQuery,
  scores: readonly f32[][],
  params: readonly u32[],
): UnitSteps {
  const { d, m } = o
  const isCoded = d.bits < 16
  const g = laneIdx >>> 2
  const rows = laneRows(d)
  const tops = rows.map((row, j) => {
    if (!isCoded || (lanesShare(o) && j > 0)) return f32(1)
    return Math.max(largestOf(load(m.valueTops, [row, 0], WARPS)), SMALLEST_SCALE)
  })
  const rates = tops.map((top, j) => (!isCoded || (lanesShare(o) && j > 0) ? f32(1) : valueRate(top)))
  const references = rows.map((row, j) => {
    const largest = largestOf(load(m.scoreTops, [row, 0], WARPS))
    const sees = largest > f32.lowest
    const value = sees ? unitReference(largest, query.steps[j]!) : f32(0)
    return { value, given: sees ? value : f32(NO_REFERENCE) }
  })
  const own = params.map((word) => (isCoded ? floatsOf(word) : ([f32(0), f32(0)] as const)))
  const shared = own.map(([scale]) => scale * rates[0]!)
  const probabilities = scores.map((row, j) => {
    const bias = EXPONENT_BIAS - references[j]!.value
    return row.map((value) => probability(value, query.steps[j]!, bias))
  })
  probabilities.forEach((row, j) => {
    store(m.strands, [rows[j]!, strandPlace(rows[j]!, g, i32(warpIdx))], row)
  })
  if (isCoded) {
    if ((laneIdx & 3) === 0) {
      const minima = own.map(([, min]) => min)
      store(m.minima, [strandPlace(i32(0), g, i32(warpIdx))], minima)
    }
    giveCodes(
      o,
      probabilities.map((row, j) =>
        row.map((p, i) => probabilityBits(p, lanesShare(o) ? shared[i]! : own[i]![0] * rates[j]!)),
      ),
    )
  } else giveFloats(o, probabilities)
  return {
    references: references.map(({ given }) => given),
    values: rows.map((_, j) => valueStep(tops[lanesShare(o) ? 0 : j]!)),
  }
}

/**
 * Adds up probabilities, and their products with minima, strand by strand: of four rows each by a warp, a lane for each row
 * and strand.
 */
function addStrands(o: Decode, sums: SplitSums, steps: UnitSteps): void {
  const { c, d } = o
  const inFour = laneIdx >>> 3
  for (const four of unroll(Math.ceil(c.rows / 4))) {
    const row = 4 * four + inFour
    // The row's reference is another lane's.
    const [even, odd] = steps.references.map((all) => shuffle(all, idiv(row, d.laneRows)))
    const reference = odd === undefined || (row & 1) === 0 ? even! : odd
    const first = WARPS - 2 - 2 * four
    if (warpIdx === first + 1) addStrand(o, sums, row, reference, false)
    if (d.bits < 16 && warpIdx === first) addStrand(o, sums, row, reference, true)
  }
}

function addStrand({ m }: Decode, sums: SplitSums, row: i32, reference: f32, isOffset: boolean): void {
  const strand = laneIdx & (STRANDS - 1)
  let sum: f32 = 0
  for (const warp of unroll(WARPS)) {
    const own = load(m.strands, [row, strandPlace(row, strand, i32(warp))], LANE_TOKENS)
    if (isOffset) {
      const minima = load(m.minima, [strandPlace(i32(0), strand, i32(warp))], LANE_TOKENS)
      own.forEach((p, i) => {
        sum = fma(p, minima[i]!, sum)
      })
    } else for (const p of own) sum = sum + p
  }
  for (const mask of [1, 2, 4]) sum = sum + shuffleXor(sum, mask)
  const change = rescale(sums.strand.reference, reference)
  sums.strand.reference = change.reference
  sums.strand.sum = fma(sum, change.factor, sums.strand.sum * change.keep)
}
