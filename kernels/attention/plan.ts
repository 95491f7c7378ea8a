import {
  atomicAdd,
  atomicMax,
  barrier,
  each,
  type In,
  type InOut,
  i32,
  kernel,
  laneIdx,
  type Out,
  range,
  reduxAdd,
  reduxMax,
  shared,
  store,
  threadIdx,
  unroll,
  waitForPrevious,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { SPLIT } from './arithmetic.ts'
import { hasEngine } from './decode-copies.ts'
import { type DecodeConfig, decodeShape } from './decode-shape.ts'
import { ITEM_WORDS, SPLIT_UNITS } from './items.ts'
import { cutOf, FINE_RUNS, FINE_UNITS, runsOf, sizesOf, type Totals } from './plan-cuts.ts'
import { dealtRows, makeDeal, orderCtas, placeOf, putPartsFirst, putWeights } from './plan-deal.ts'
import { writeItems } from './plan-list.ts'
import { clearCounts, countItems, makeRanks, ranksOf, rankWarps, rankWeights } from './plan-ranks.ts'
import { PLAN_THREADS, type PlanConfig, sequenceOf, unitsOf } from './plan-sequences.ts'

/** What the plan has to know of the kernel that goes by it. */
export const planConfig = (c: DecodeConfig): PlanConfig => ({
  queries: c.queries,
  ctas: c.ctas / (c.Hkv * decodeShape(c).passes),
})

/** Room for the items of any step of so many splits, and for the slots of its partial sums. */
export const roomFor = (splits: number): number =>
  Math.max(splits, Math.min(splits * SPLIT_UNITS, FINE_UNITS))

/** Splits of so many sequences at most. */
export const mostSplits = (sequences: number, maxPages: number): number =>
  sequences * ceilDiv(maxPages * PAGE_TOKENS, SPLIT)

export const mostItems = (sequences: number, maxPages: number): number =>
  roomFor(mostSplits(sequences, maxPages))

/**
 * Lists the items of decode attention for a step: for every layer the same.
 *
 * Where CTAs are many and contexts are not long, splits are cut into the shortest runs of 1, 2 or 4 units of which each has a CTA of its own. Otherwise a
 * sequence is one item where that is not more than a CTA's share of all work, and longer ones are cut into runs of as many
 * splits as a share has, at least one. Items are dealt out to CTAs by their weight, so that CTAs which take them in turns end
 * together; of the first two that a CTA takes a part of a sequence comes before a whole one, so that nobody waits for it at the
 * end. Places that no item has are items of no units.
 * Sequences without query tokens, with more than `queries`, or with those of a prompt where `prompts` are told have no items.
 */
export const planAttention = kernel(
  import.meta.url,
  { grid: () => [1], block: [PLAN_THREADS] },
  function planAttention(
    a: {
      queryStart: In<i32, 'Starts'>
      context: In<i32, 'B'>
      pages: In<i32, 'B MaxPages'>
      /** Not 0 where a sequence's query tokens are a prompt's. */
      prompts?: In<i32, 'B'>
      /** Tokens that a query sees, itself included. */
      window: i32
      items: InOut<i32, 'Items 12'>
      itemCount: Out<i32, '1'>
    },
    c: PlanConfig,
  ) {
    if (hasEngine()) waitForPrevious()
    const sequences = a.context.dim('B')
    const totals: Totals = {
      runs: shared<i32>('i32', [FINE_RUNS]),
      longest: shared<i32>('i32', [1]),
    }
    const slots = shared<i32>('i32', [1])
    const [ranks, deal] = [makeRanks(), makeDeal(c)]
    if (threadIdx.x < FINE_RUNS) totals.runs.put(0, threadIdx.x)
    if (threadIdx.x === 0) {
      totals.longest.put(0, 0)
      slots.put(0, 0)
    }
    clearCounts(ranks)
    barrier()
    for (const first of range(0, sequences, PLAN_THREADS)) {
      const own = sequenceOf(a, c, first + threadIdx.x)
      for (const bits of unroll(FINE_RUNS)) {
        const runs = reduxAdd(runsOf(own, bits))
        if (laneIdx === 0) atomicAdd(totals.runs, [bits], runs)
      }
      const longest = reduxMax(unitsOf(own))
      if (laneIdx === 0) atomicMax(totals.longest, [0], longest)
    }
    barrier()
    const sizes = sizesOf(totals, c)
    for (const first of range(0, sequences, PLAN_THREADS)) {
      const own = sequenceOf(a, c, first + threadIdx.x)
      countItems(ranks, own, sizes, cutOf(own, sizes))
    }
    barrier()
    rankWeights(ranks)
    barrier()
    const items = ranks.items.at(0)
    const rows = dealtRows(a, c, items)
    const places = rows > 0 ? rows * Math.floor(c.ctas) : items
    const place = (rank: i32): i32 => placeOf(deal, c, rows, rank)
    if (threadIdx.x === 0) a.itemCount.put(places, 0)
    for (const first of range(0, sequences, PLAN_THREADS)) {
      const own = sequenceOf(a, c, first + threadIdx.x)
      const cut = cutOf(own, sizes)
      clearCounts(ranks)
      barrier()
      countItems(ranks, own, sizes, cut)
      barrier()
      rankWarps(ranks)
      barrier()
      const ownRanks = ranksOf(ranks, own, sizes, cut)
      if (rows > 0) {
        putWeights(deal, own, sizes, cut, ownRanks)
        barrier()
        orderCtas(deal, c, rows, items)
      }
      barrier()
      writeItems(a, slots, own, sizes, cut, ownRanks, place)
    }
    if (rows > 0) {
      for (const rank of range(items + threadIdx.x, places, PLAN_THREADS)) {
        const none = each(ITEM_WORDS, () => i32(0))
        store(a.items, [place(rank), 0], none)
      }
      barrier()
      putPartsFirst(a, deal, c, rows, items)
    }
  },
)
