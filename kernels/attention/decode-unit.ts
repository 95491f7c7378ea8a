import {
  each,
  f32,
  fma,
  i32,
  idiv,
  laneIdx,
  load,
  regs,
  store,
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
  type CopySource,
  type Cursor,
  copyMore,
  isOneBlock,
  nextBlock,
  type Stream,
  waitBlock,
  waitOwnCopies,
} from './decode-copies.ts'
import { clearUnseen, giveFloats, loadFloatQuery, multiplyValues, scoreFloats } from './decode-floats.ts'
import {
  type Decode,
  LANE_TOKENS,
  laneMax,
  laneRows,
  meet,
  rowsShare,
  sharedRow,
  unitToken,
} from './decode-lanes.ts'
import { strandPlace } from './decode-memory.ts'
import { WARP_TOKENS, WARPS } from './decode-shape.ts'
import { addStrands, giveValueRate, type StrandSums } from './decode-strands.ts'
import { type ItemExtent, liveOf } from './items.ts'

/** What a lane keeps of the rows for an item. */
export interface ItemQuery {
  readonly words: () => CodedQuery
  /** Of each of the lane's rows the step of its query, and the sum of its integers. */
  readonly steps: readonly f32[]
  readonly sums: readonly f32[]
}

export function loadItemQuery(o: Decode): ItemQuery {
  const { c, d, m } = o
  const rows = laneRows(d).map((row) => Math.min(row, c.rows - 1))
  const load = () => (d.bits === 16 ? loadFloatQuery(o) : loadCodedQuery(o))
  // Those of many rows are read again for each unit, for there are no registers for them.
  const words = d.sides === 1 ? load() : undefined
  return {
    words: () => words ?? load(),
    steps: rows.map((row) => m.rowInfo.at(row, 0)),
    sums: rows.map((row) => m.rowInfo.at(row, 1)),
  }
}

/** A unit of the item at hand, for the rows of a pass. */
interface UnitWork {
  readonly extent: ItemExtent
  readonly pass: i32
  readonly unit: i32
  /** Whether its sums are a part: they are left in units of its own step, and there are none before them. */
  readonly isApart: boolean
}

/** Sums of values so far, of the lane's rows in units of 2^reference: [row][fragment][rows g and g + 8]. */
export interface ValueSums {
  readonly references: f32[]
  readonly values: f32[][][]
}

export const noValues = ({ laneRows, tiles }: Decode['d']): ValueSums => ({
  references: regs(laneRows, f32(NO_REFERENCE)),
  values: each(laneRows, () => each(tiles, () => regs(2, f32(0)))),
})

export function clearValues(sums: ValueSums): void {
  sums.values.forEach((row, j) => {
    sums.references[j] = NO_REFERENCE
    for (const tile of row) for (const half of unroll(2)) tile[half] = 0
  })
}

/** Adds a split's sums to those of the splits before, and clears them. */
export function addSplitValues(total: ValueSums, split: ValueSums): void {
  total.values.forEach((row, j) => {
    const change = rescale(total.references[j]!, split.references[j]!)
    total.references[j] = change.reference
    row.forEach((tile, i) => {
      for (const half of unroll(2))
        tile[half] = fma(split.values[j]![i]![half]!, change.factor, tile[half]! * change.keep)
    })
  })
  clearValues(split)
}

/**
 * A unit by the computing warps: each has the scores of a quarter of its tokens, and after all have met the sums of a quarter
 * of the columns of its values, which it adds to those of the units before.
 *
 * The cache is operand A of both products and rows the free side, so that whoever unpacks a code does it for all rows. In the
 * first a fragment's row is a token and k runs along the head; in the second a row is a column of the head and k runs along
 * tokens. Pages are made so that a lane's words of codes are fragments as they are. Between the two, probabilities change
 * lanes through shared memory.
 *
 * Returns the step of each of the lane's rows.
 */
export function attendUnit(
  o: Decode,
  at: Cursor,
  query: ItemQuery,
  sums: ValueSums,
  work: UnitWork,
): readonly f32[] {
  const { c, d, ring } = o
  const { from, end } = liveOf(work.extent, work.unit)

  const { scores, params } = scoreUnit(o, at, query, work, from, end)
  giveTops(o, scores, params)
  meet()
  // Of one block the values are the second page.
  const isOne = isOneBlock(work.extent, work.unit)
  const valuePage = i32(isOne)
  if (!isOne) nextBlock(c, d, at, KEYS)
  const steps = giveProbabilities(o, query, scores, params)
  if (mustClear(o, from, end)) {
    if (ring.full === undefined) meet()
    waitBlock(ring, at)
    clearUnseen(o, at, from, end, valuePage)
  }
  meet()

  waitBlock(ring, at)
  const isCoded = d.bits < 16
  const values = isCoded
    ? multiplyValueCodes(o, at, from, end, valuePage).map((row) =>
        row.map((tile) => tile.map((sum) => f32(sum))),
      )
    : multiplyValues(o, at, from, end, valuePage)
  nextBlock(c, d, at, VALUES)
  for (const j of unroll(d.laneRows)) {
    const change = rescale(sums.references[j]!, steps.references[j]!)
    sums.references[j] = change.reference
    for (const tile of unroll(d.tiles)) {
      for (const half of unroll(2)) {
        // Sums of upper nibbles are 16 times what they stand for.
        const share = d.bits === 4 && half === 1 ? 1 / 16 : 1
        const step = work.isApart ? f32(1) : steps.values[j]!
        const factor = isCoded ? step * share * change.factor : change.factor
        const before = sums.values[j]![tile]![half]! * change.keep
        sums.values[j]![tile]![half] = fma(values[j]![tile]![half]!, factor, before)
      }
    }
  }
  return steps.values
}

/** The same by the warp that copies: it meets the others as often as they do. */
export function assistUnit(
  o: Decode & { readonly a: CopySource },
  s: Stream,
  at: Cursor,
  sums: StrandSums,
  work: UnitWork,
): void {
  const { a, c, d, ring } = o
  const { from, end } = liveOf(work.extent, work.unit)
  giveValueRate(o, at, from, end)
  meet()
  const isOne = isOneBlock(work.extent, work.unit)
  if (!isOne) nextBlock(c, d, at, KEYS)
  nextBlock(c, d, at, VALUES)
  copyMore(a, c, d, ring, s, isOne)
  waitOwnCopies(c, ring)
  if (mustClear(o, from, end) && ring.full === undefined) meet()
  meet()
  addStrands(o, sums)
}

/** Whether values that no query sees must not be read: beside a probability of 0 codes do no harm. */
const mustClear = ({ d }: Decode, from: i32, end: i32): boolean => d.bits === 16 && (from > 0 || end < UNIT)

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
    const words = query.words()
    const all = isCoded ? scoreCodes(o, at, words, query.sums) : scoreFloats(o, at, words)
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

/** Gives the largest score of the warp's tokens, and the largest scale of their values. */
function giveTops(o: Decode, scores: readonly f32[][], params: readonly u32[]): void {
  const { d, m } = o
  const rows = laneRows(d)
  const tops = scores.map((own) => laneMax(own.reduce((x, y) => Math.max(x, y))))
  const largest = rows.map((_, j) => {
    if (d.bits === 16 || rowsShare(o) || sharedRow(o, j) < j) return f32(0)
    const own = params.map((word, i) => (scores[j]![i]! > f32.lowest ? floatsOf(word)[0] : f32(0)))
    return laneMax(own.reduce((x, y) => Math.max(x, y)))
  })
  if (laneIdx < 4) {
    rows.forEach((row, j) => {
      m.scoreTops.put(tops[j]!, row, warpIdx)
      if (d.bits < 16 && !rowsShare(o)) m.valueTops.put(largest[sharedRow(o, j)]!, row, warpIdx)
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
  const references = rows.map((row, j) => {
    const largest = largestOf(load(m.scoreTops, [row, 0], WARPS))
    const sees = largest > f32.lowest
    const value = sees ? unitReference(largest, query.steps[j]!) : f32(0)
    return { value, given: sees ? value : f32(NO_REFERENCE) }
  })
  const scales = scalesOf(o)
  const own = params.map((word) => (isCoded ? floatsOf(word) : ([f32(0), f32(0)] as const)))
  const weights: f32[][] = []
  rows.forEach((_, j) => {
    const same = sharedRow(o, j)
    weights.push(same < j ? weights[same]! : own.map(([scale]) => scale * scales[j]!.rate))
  })
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
      probabilities.map((row, j) => row.map((p, i) => probabilityBits(p, weights[j]![i]!))),
    )
  } else giveFloats(o, probabilities)
  if (warpIdx === 0 && laneIdx < 4) {
    rows.forEach((row, j) => {
      m.references.put(references[j]!.given, row)
    })
  }
  return {
    references: references.map(({ given }) => given),
    values: scales.map(({ step }) => step),
  }
}

/** What the scales of a unit's values are multiplied by, and the step of their sums: of each of the lane's rows. */
function scalesOf(o: Decode): { readonly rate: f32; readonly step: f32 }[] {
  const { d, m } = o
  if (d.bits === 16) return laneRows(d).map(() => ({ rate: f32(1), step: f32(1) }))
  if (rowsShare(o)) {
    const [rate, step] = load(m.valueRate, [0], 2)
    return laneRows(d).map(() => ({ rate: rate!, step: step! }))
  }
  const scales: { readonly rate: f32; readonly step: f32 }[] = []
  laneRows(d).forEach((row, j) => {
    const same = sharedRow(o, j)
    if (same < j) scales.push(scales[same]!)
    else {
      const top = Math.max(largestOf(load(m.valueTops, [row, 0], WARPS)), SMALLEST_SCALE)
      scales.push({ rate: valueRate(top), step: valueStep(top) })
    }
  })
  return scales
}
