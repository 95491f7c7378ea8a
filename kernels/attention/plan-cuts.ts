import { f32, i32, idiv, type Shared, unroll } from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { UNIT } from './arithmetic.ts'
import { MOST_SPLITS, SPLIT_BITS, SPLIT_UNITS } from './items.ts'
import { type PlanConfig, type Sequence, unitsOf } from './plan-sequences.ts'

/** How sequences are cut into items. */

/** Units of a step at most of which splits are cut. */
export const FINE_UNITS = 512

/** Units of such a step's sequences at most: who adds up more parts takes longer than the items of whole splits. */
const FINE_LENGTH = 72

/** Units of an item at most. */
const MOST_UNITS = MOST_SPLITS * SPLIT_UNITS

/** What a CTA may have more than its share, so that a sequence need not be cut. */
const EXCESS = 1.05

/** Pages of a unit. */
const UNIT_PAGES = UNIT / PAGE_TOKENS

/** What a page weighs (`weightOf`). */
const PAGE_WEIGHT = 3

/** Room for items by weight (`weightOf`): as many for each lane of a warp. */
export const WEIGHTS = 32 * ceilDiv(PAGE_WEIGHT * MOST_UNITS * UNIT_PAGES + 1, 32)

/** What there is to do in a step. */
export interface Totals {
  /** Runs of 1, 2, 4 units of all sequences, and units of the longest. */
  readonly runs: Shared<i32>
  readonly longest: Shared<i32>
}

/** Lengths of runs that splits are cut into: powers of two below a split. */
export const FINE_RUNS = SPLIT_BITS

/** Runs of 2^bits units that a sequence has something of. */
export const runsOf = ({ firstUnit, lastUnit }: Sequence, bits: number): i32 =>
  (lastUnit >> bits) - (firstUnit >> bits) + 1

/** What sequences are cut by. */
export interface Sizes {
  /** Units of a sequence that is not cut, at most. */
  readonly most: i32
  /** Units of the items that others are cut into: a power of two, or a multiple of a split. */
  readonly run: i32
  /** The same, but a split at most. */
  readonly inSplit: i32
}

export function sizesOf(totals: Totals, c: PlanConfig): Sizes {
  const units = totals.runs.at(0)
  const mayCut = units <= FINE_UNITS && totals.longest.at(0) <= FINE_LENGTH
  let fine: i32 = 0
  for (const bits of unroll(FINE_RUNS)) {
    const shorter = FINE_RUNS - 1 - bits
    if (totals.runs.at(shorter) <= Math.floor(c.ctas) && mayCut) fine = 2 ** shorter
  }
  const share = i32(f32(units) * (EXCESS / c.ctas))
  const coarse = Math.max(Math.min(share, MOST_UNITS), SPLIT_UNITS)
  return {
    most: fine > 0 ? fine : coarse,
    run: fine > 0 ? fine : (coarse >>> SPLIT_BITS) * SPLIT_UNITS,
    inSplit: fine > 0 ? fine : SPLIT_UNITS,
  }
}

/** How a sequence is cut into items. */
export interface Cut {
  /** Units of the first item, and of the last, another one; 0 where there is none. */
  readonly head: i32
  readonly tail: i32
  /** Items between them. */
  readonly between: i32
  /** The first unit behind the first item. */
  readonly next: i32
  /** Parts that are summed up at last. */
  readonly parts: i32
}

export function cutOf(own: Sequence, sizes: Sizes): Cut {
  const { most, run, inSplit } = sizes
  const units = unitsOf(own)
  const isWhole = units <= most
  const next = (own.firstUnit & (0 - inSplit)) + run
  // Items behind the first: all but the last have as many units as may be.
  const left = own.lastUnit + 1 - next
  const items = Math.max(idiv(left + run - 1, run), 1)
  return {
    head: isWhole ? units : next - own.firstUnit,
    tail: isWhole ? 0 : left - (items - 1) * run,
    between: isWhole ? 0 : items - 1,
    next,
    parts: isWhole ? 1 : 1 + partsBefore(own.lastUnit + 1, sizes) - partsBefore(next, sizes),
  }
}

/** Parts of the units below `unit`: the first run of a split is one, and each unit of the others. */
export function partsBefore(unit: i32, { inSplit }: Sizes): i32 {
  const rest = unit & (SPLIT_UNITS - 1)
  const ofRest = rest === 0 ? 0 : 1 + Math.max(rest - inSplit, 0)
  return (unit >>> SPLIT_BITS) * (1 + SPLIT_UNITS - inSplit) + ofRest
}

/** Pages of a sequence's first item, and of its last one; 0 where there is none. */
const headPages = ({ from, end, firstUnit }: Sequence, units: i32): i32 =>
  units > 0 ? pagesBetween(from, Math.min((firstUnit + units) * UNIT, end)) : 0

const tailPages = ({ end, lastUnit }: Sequence, units: i32): i32 =>
  units > 0 ? pagesBetween((lastUnit + 1 - units) * UNIT, end) : 0

/**
 * What an item takes a CTA, in thirds of a page of two: a unit of one page takes a third of a page more than half of one of two, and so
 * does a part, which has to be given to others, or added to theirs.
 */
const weightOf = (pages: i32, isPart: boolean): i32 =>
  pages > 0 ? PAGE_WEIGHT * pages + (pages & 1) + i32(isPart) : 0

const pagesBetween = (from: i32, end: i32): i32 => idiv(end - 1, PAGE_TOKENS) - idiv(from, PAGE_TOKENS) + 1

/** A number for a sequence's first item, for each of those behind it, and for the last. */
export interface PerItem {
  readonly head: i32
  readonly between: i32
  readonly tail: i32
}

/** Weights of its items; 0 where there is none, but of those between. */
export const weightsOf = (own: Sequence, { run }: Sizes, cut: Cut): PerItem => ({
  head: weightOf(headPages(own, cut.head), cut.tail > 0),
  between: weightOf(run * UNIT_PAGES, true),
  tail: weightOf(tailPages(own, cut.tail), true),
})
