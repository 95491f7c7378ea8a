import {
  atomicAdd,
  ballot,
  barrier,
  i32,
  laneIdx,
  leadingZeros,
  load,
  range,
  regs,
  type Shared,
  shared,
  shuffle,
  shuffleDown,
  threadIdx,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { type Cut, type PerItem, type Sizes, WEIGHTS, weightsOf } from './plan-cuts.ts'
import { PLAN_THREADS, type Sequence } from './plan-sequences.ts'

/**
 * The ranks of items: by weight, the heaviest first, those of one weight by their sequences. Threads have sequences in order, so
 * a rank is what is heavier, what warps before have of the same weight, and what lanes before have.
 */

const WARPS = PLAN_THREADS / 32

export interface Ranks {
  /** By weight less 1: items of this weight, and then the rank of the next of them. */
  readonly next: Shared<i32>
  /** Items of each warp, and then the rank of the first: [warp, weight less 1]. */
  readonly warps: Shared<i32>
  readonly items: Shared<i32>
}

export const makeRanks = (): Ranks => ({
  next: shared<i32>('i32', [WEIGHTS]),
  warps: shared<i32>('i32', [WARPS, WEIGHTS]),
  items: shared<i32>('i32', [1]),
})

/** Before `countItems`; barriers must surround it. */
export function clearCounts({ warps }: Ranks): void {
  for (const i of range(threadIdx.x, WARPS * WEIGHTS, PLAN_THREADS)) warps.put(0, 0, i)
}

/** Counts a sequence's items by their weight. */
export function countItems({ warps }: Ranks, own: Sequence, sizes: Sizes, cut: Cut): void {
  const { head, between, tail } = weightsOf(own, sizes, cut)
  const count = (weight: i32, items: i32): void => {
    if (weight > 0 && items > 0) atomicAdd(warps, [warpIdx, weight - 1], items)
  }
  count(head, i32(1))
  count(between, cut.between)
  count(tail, i32(1))
}

/** Makes the counts of a whole step ranks of the first items of each weight. Between barriers. */
export function rankWeights({ next, warps, items }: Ranks): void {
  if (threadIdx.x < WEIGHTS) {
    let all: i32 = 0
    for (const warp of unroll(WARPS)) all = all + warps.at(warp, threadIdx.x)
    next.put(all, threadIdx.x)
  }
  barrier()
  if (warpIdx === 0) {
    const width = WEIGHTS / 32
    const own = load(next, [width * laneIdx], width)
    let heavier: i32 = own.reduce((x, y) => x + y)
    for (const step of unroll(5)) {
      const other = shuffleDown(heavier, 2 ** step)
      heavier = laneIdx + 2 ** step < 32 ? heavier + other : heavier
    }
    let rank: i32 = heavier
    own.forEach((items, i) => {
      rank = rank - items
      next.put(rank, width * laneIdx + i)
    })
    if (laneIdx === 0) items.put(heavier, 0)
  }
}

/** Makes the counts of as many sequences as there are threads ranks of the warps' first items, behind those before. Between barriers. */
export function rankWarps({ next, warps }: Ranks): void {
  if (threadIdx.x < WEIGHTS) {
    let rank = next.at(threadIdx.x)
    for (const warp of unroll(WARPS)) {
      const items = warps.at(warp, threadIdx.x)
      warps.put(rank, warp, threadIdx.x)
      rank = rank + items
    }
    next.put(rank, threadIdx.x)
  }
}

/** The ranks of a sequence's items; those between follow each other. By whole warps. */
export function ranksOf({ warps }: Ranks, own: Sequence, sizes: Sizes, cut: Cut): PerItem {
  const weights = weightsOf(own, sizes, cut)
  const counts = { head: i32(cut.head > 0), between: cut.between, tail: i32(cut.tail > 0) }
  const first = (weight: i32): i32 => (weight > 0 ? warps.at(warpIdx, weight - 1) : 0)
  const ranks = regs(3, i32(0))
  ranks[0] = first(weights.head)
  ranks[1] = first(weights.between)
  ranks[2] = first(weights.tail)
  const all = [weights.head, weights.between, weights.tail]
  // All lanes' items between have one weight.
  const word = weights.head | (weights.tail << 8) | (counts.between << 16)
  for (const lane of range(32 - leadingZeros(ballot(word !== 0)))) {
    const other = shuffle(word, lane)
    if (lane < laneIdx) {
      for (const [kind, weight] of all.entries()) {
        const same = i32((other & 0xff) === weight) + i32(((other >>> 8) & 0xff) === weight)
        ranks[kind] = ranks[kind]! + same + (weight === weights.between ? other >>> 16 : 0)
      }
    }
  }
  const sameTail = weights.tail === weights.between ? counts.between : 0
  return {
    head: ranks[0]!,
    between: ranks[1]! + i32(weights.head === weights.between),
    tail: ranks[2]! + i32(weights.head === weights.tail) + sameTail,
  }
}
