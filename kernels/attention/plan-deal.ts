import {
  ballot,
  barrier,
  i32,
  idiv,
  laneIdx,
  leadingZeros,
  load,
  range,
  reduxMax,
  type Shared,
  shared,
  shuffle,
  store,
  syncWarp,
  threadIdx,
} from '../../dsl/index.ts'
import { ITEM_WORDS, PARTS, RUN_BITS } from './items.ts'
import { type Cut, type PerItem, type Sizes, weightsOf } from './plan-cuts.ts'
import { PLAN_THREADS, type PlanArguments, type PlanConfig, type Sequence } from './plan-sequences.ts'

/** How items are dealt out to CTAs, which take them in turns. */

export interface Deal {
  /** By rank the weight of an item, doubled, and 1 more for a part. */
  readonly weights: Shared<i32>
  /** By the rank of a CTA's first item that of its second; and by the latter, less the first turn's, the former. */
  readonly seconds: Shared<i32>
  readonly firsts: Shared<i32>
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
  seconds: shared<i32>('i32', [Math.ceil(ctas)]),
  firsts: shared<i32>('i32', [Math.ceil(ctas)]),
  loads: shared<i32>('i32', [Math.ceil(ctas)]),
  turns: shared<i32>('i32', [Math.ceil(ctas)]),
})

/** Weights that seconds may have more or less where they change places. */
const ALIKE = 3

/** Puts down the weights of a sequence's items by their ranks. */
export function putWeights(s: Deal, own: Sequence, sizes: Sizes, cut: Cut, ranks: PerItem): void {
  const weights = weightsOf(own, sizes, cut)
  if (cut.head > 0) s.weights.put(2 * weights.head + i32(cut.tail > 0), ranks.head)
  for (const i of range(cut.between)) s.weights.put(2 * weights.between + 1, ranks.between + i)
  if (cut.tail > 0) s.weights.put(2 * weights.tail + 1, ranks.tail)
}

/**
 * Finds the second items of CTAs: ranks go back and forth over them, so that who has one of the heaviest gets one of the lightest.
 * But where both would be parts, whose sequences might have to be added up at the end, the second goes to a CTA that has none,
 * for one that is about as heavy. By one warp.
 */
export function findSeconds(s: Deal, c: PlanConfig, items: i32): void {
  const ctas = Math.floor(c.ctas)
  for (const own of range(laneIdx, ctas, 32)) s.seconds.put(2 * ctas - 1 - own, own)
  syncWarp()
  const pairOf = (own: i32) => {
    const second = s.seconds.at(Math.min(own, ctas - 1))
    const has = own < ctas && second < items
    const [first, other] = [own, second].map((rank) => s.weights.at(Math.min(rank, items - 1)))
    return { has, parts: (first! & 1) + (other! & 1), weight: other! >> 1 }
  }
  for (const base of range(0, ctas, 32)) {
    const own = pairOf(base + laneIdx)
    let left = ballot(own.has && own.parts === 2)
    while (left !== 0) {
      const lane = 31 - leadingZeros(left & (0 - left))
      left = left & (left - 1)
      const weight = shuffle(own.weight, lane)
      // Of those that differ the least the first.
      let best: i32 = 0
      for (const others of range(0, ctas, 32)) {
        const other = pairOf(others + laneIdx)
        const apart = Math.abs(other.weight + 1 - weight)
        const isFit = other.has && other.parts === 0 && apart <= ALIKE
        best = Math.max(best, isFit ? ((ALIKE + 1 - apart) << 16) - others - laneIdx : 0)
      }
      best = reduxMax(best)
      if (best > 0 && laneIdx === 0) {
        const other = ((best + 0xffff) & ~0xffff) - best
        const second = s.seconds.at(base + lane)
        s.seconds.put(s.seconds.at(other), base + lane)
        s.seconds.put(second, other)
      }
      syncWarp()
    }
  }
  for (const own of range(laneIdx, ctas, 32)) s.firsts.put(own, s.seconds.at(own) - ctas)
}

/** The rank of a CTA's item in a row. */
const rankOf = (s: Deal, ctas: number, row: i32, own: i32): i32 =>
  row === 1 ? s.seconds.at(own) : row * ctas + ((row & 1) === 1 ? ctas - 1 - own : own)

/**
 * Finds the turns of CTAs, which are known by the rank of their first item: those that have much to do stand between those that
 * have little, for neighbours share a multiprocessor. By all threads; a barrier must follow.
 */
export function orderCtas(s: Deal, c: PlanConfig, rows: i32, items: i32): void {
  const ctas = Math.floor(c.ctas)
  for (const own of range(threadIdx.x, ctas, PLAN_THREADS)) {
    let load: i32 = 0
    for (const row of range(rows)) {
      const rank = rankOf(s, ctas, row, own)
      load = load + (rank < items ? (s.weights.at(Math.min(rank, items - 1)) >> 1) + 1 : 0)
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
    const first = row === 1 ? s.firsts.at(forth) : isBack ? ctas - 1 - forth : forth
    const cta = s.turns.at(first)
    // Turns go back and forth, too (`turnAt`).
    place = row * ctas + (isBack ? ctas - 1 - cta : cta)
  }
  return place
}

/** Of the first two items that a CTA takes, puts one that is a part before one that is whole. */
export function putPartsFirst(a: PlanArguments, s: Deal, c: PlanConfig, rows: i32, items: i32): void {
  for (const own of range(threadIdx.x, Math.floor(c.ctas), PLAN_THREADS)) {
    const ranks = [own, s.seconds.at(own)]
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
