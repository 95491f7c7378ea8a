import { barrier, i32, idiv, load, range, type Shared, shared, store, threadIdx } from '../../dsl/index.ts'
import { ITEM_WORDS, PARTS, RUN_BITS } from './items.ts'
import { type Cut, type PerItem, type Sizes, weightsOf } from './plan-cuts.ts'
import { PLAN_THREADS, type PlanArguments, type PlanConfig, type Sequence } from './plan-sequences.ts'

/** How items are dealt out to CTAs, which take them in turns. */

export interface Deal {
  /** By rank the weight of an item. */
  readonly weights: Shared<i32>
  /** By the rank of a CTA's first item what it has to do, and its place among CTAs. */
  readonly loads: Shared<i32>
  readonly turns: Shared<i32>
}

/** Items that are dealt out at most; more are listed as they rank, for CTAs have many then. */
const MOST_DEALT = 512

/**
 * Turns of CTAs that all items are dealt out in, with places to spare in the last; 0 where items are listed as they rank: where
 * each has a CTA of its own, where CTAs are no multiple of heads, or there is no room.
 */
export function dealtRows(a: PlanArguments, c: PlanConfig, items: i32): i32 {
  if (!Number.isInteger(c.ctas)) return i32(0)
  const rows = idiv(items + c.ctas - 1, c.ctas)
  const isDealt = items > c.ctas && items <= MOST_DEALT && a.context.dim('B') <= PLAN_THREADS
  return isDealt && rows * c.ctas <= a.items.dim('Items') ? rows : 0
}

export const makeDeal = ({ ctas }: PlanConfig): Deal => ({
  weights: shared<i32>('i32', [MOST_DEALT]),
  loads: shared<i32>('i32', [Math.ceil(ctas)]),
  turns: shared<i32>('i32', [Math.ceil(ctas)]),
})

/** Puts down the weights of a sequence's items by their ranks. */
export function putWeights(s: Deal, own: Sequence, sizes: Sizes, cut: Cut, ranks: PerItem): void {
  const weights = weightsOf(own, sizes, cut)
  if (cut.head > 0) s.weights.put(weights.head, ranks.head)
  for (const i of range(cut.between)) s.weights.put(weights.between, ranks.between + i)
  if (cut.tail > 0) s.weights.put(weights.tail, ranks.tail)
}

/**
 * The rank of a CTA's item in a row, of those by the rank of the first: ranks go back and forth over them, so that who has one of the
 * heaviest gets one of the lightest.
 */
const rankOf = (ctas: number, row: i32, own: i32): i32 =>
  row * ctas + ((row & 1) === 1 ? ctas - 1 - own : own)

/**
 * Finds the turns of CTAs, which are known by the rank of their first item: those that have much to do stand between those that
 * have little, for neighbours share a multiprocessor. By all threads; a barrier must follow.
 */
export function orderCtas(s: Deal, c: PlanConfig, rows: i32, items: i32): void {
  const ctas = Math.floor(c.ctas)
  for (const own of range(threadIdx.x, ctas, PLAN_THREADS)) {
    let load: i32 = 0
    for (const row of range(rows)) {
      const rank = rankOf(ctas, row, own)
      load = load + (rank < items ? s.weights.at(Math.min(rank, items - 1)) : 0)
    }
    s.loads.put(load, own)
  }
  barrier()
  for (const own of range(threadIdx.x, ctas, PLAN_THREADS)) {
    const load = s.loads.at(own)
    let before: i32 = 0
    for (const other of range(ctas)) {
      const theirs = s.loads.at(other)
      before = before + i32(theirs > load || (theirs === load && other < own))
    }
    s.turns.put(2 * before < ctas ? 2 * before : 2 * (ctas - 1 - before) + 1, own)
  }
}

/** The place of an item by its rank. */
export function placeOf(s: Deal, { ctas }: PlanConfig, rows: i32, rank: i32): i32 {
  if (!Number.isInteger(ctas)) return rank
  let place: i32 = rank
  if (rows > 0) {
    const row = idiv(rank, ctas)
    const isBack = (row & 1) === 1
    const forth = rank - row * ctas
    const first = isBack ? ctas - 1 - forth : forth
    const cta = s.turns.at(first)
    // Turns go back and forth, too (`turnAt`).
    place = row * ctas + (isBack ? ctas - 1 - cta : cta)
  }
  return place
}

/** Of the first two items that a CTA takes, puts one that is a part before one that is whole. */
export function putPartsFirst(a: PlanArguments, s: Deal, c: PlanConfig, rows: i32, items: i32): void {
  for (const own of range(threadIdx.x, Math.floor(c.ctas), PLAN_THREADS)) {
    const ranks = [0, 1].map((row) => rankOf(Math.floor(c.ctas), i32(row), own))
    if (ranks[1]! < items) {
      const [first, second] = ranks.map((rank) => placeOf(s, c, rows, rank))
      const [early, late] = [first!, second!].map((place) => load(a.items, [place, 0], ITEM_WORDS))
      if (isWhole(early!) && !isWhole(late!)) {
        store(a.items, [first!, 0], late!)
        store(a.items, [second!, 0], early!)
      }
    }
  }
}

const isWhole = (words: readonly i32[]): boolean => (words[PARTS]! & ((1 << RUN_BITS) - 1)) === 1
