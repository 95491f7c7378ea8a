import {
  ballot,
  barrier,
  blockIdx,
  ceilDiv,
  type In,
  i32,
  idiv,
  kernel,
  laneIdx,
  load,
  type Out,
  popCount,
  range,
  type Shared,
  shared,
  shuffleUp,
  store,
  threadIdx,
  u32,
  unroll,
  waitForPrevious,
  warpIdx,
} from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { SPLIT, UNIT } from './arithmetic.ts'
import { hasEngine } from './decode-copies.ts'
import { ITEM_UNITS, ITEM_WORDS, PAGES } from './items.ts'

export interface PlanConfig {
  /** Query tokens of the longest sequences that decode attention takes. */
  readonly queries: number
}

/** Threads of a CTA, each of which looks at one sequence at a time. */
const THREADS = 256
const WARPS = THREADS / 32

/** Sequences whose items a CTA writes. */
const SHARE = 64

/** Room for the items of any step, and for the slots of its partial sums. */
export const mostItems = (sequences: number, maxPages: number): number =>
  sequences * ceilDiv(maxPages * PAGE_TOKENS, SPLIT)

/** What is counted of sequences: splits of eight units (at 0), splits of 1 to 7, and slots of partial sums. */
const WHOLE = 0
const SLOTS = ITEM_UNITS
const KINDS = ITEM_UNITS + 1

/**
 * Lists the items of decode attention for a step: for every layer the same. Items of many units come first, so that CTAs
 * which take them in turns end together.
 *
 * Each CTA counts all sequences, and writes the items of some. Sequences without query tokens, or with more than `queries`,
 * have none.
 */
export const planAttention = kernel(
  import.meta.url,
  { grid: (d) => [ceilDiv(d.B!, SHARE)], block: [THREADS] },
  function planAttention(
    a: {
      queryStart: In<i32, 'Starts'>
      context: In<i32, 'B'>
      pages: In<i32, 'B MaxPages'>
      /** Tokens that a query sees, itself included. */
      window: i32
      items: Out<i32, 'Items 28'>
      itemCount: Out<i32, '1'>
    },
    c: PlanConfig,
  ) {
    if (hasEngine()) waitForPrevious()
    const sequences = a.context.dim('B')
    const counters: Counters = {
      ofWarps: shared<i32>('i32', [WARPS, KINDS]),
      before: shared<i32>('i32', [WARPS, KINDS]),
      totals: shared<i32>('i32', [KINDS]),
    }
    const firsts = shared<i32>('i32', [ITEM_UNITS])
    const list = shared<i32>('i32', [SHARE, SEQUENCE_WORDS])

    if (threadIdx.x < KINDS) counters.totals.put(0, threadIdx.x)
    barrier()
    for (const first of range(0, sequences, THREADS)) {
      countSplits(counters, splitsOf(a, c, first + threadIdx.x))
    }
    if (threadIdx.x === 0) {
      // Splits of eight units, then those of seven, and so on.
      let first: i32 = counters.totals.at(WHOLE)
      firsts.put(0, WHOLE)
      for (const shorter of unroll(1, ITEM_UNITS)) {
        const length = ITEM_UNITS - shorter
        firsts.put(first, length)
        first = first + counters.totals.at(length)
      }
      if (blockIdx.x === 0) a.itemCount.put(first, 0)
    }
    barrier()
    if (threadIdx.x < KINDS) counters.totals.put(0, threadIdx.x)
    barrier()
    for (const first of range(0, sequences, THREADS)) {
      const own = splitsOf(a, c, first + threadIdx.x)
      const ranks = countSplits(counters, own)
      const inShare = first + threadIdx.x - blockIdx.x * SHARE
      if (inShare >= 0 && inShare < SHARE) describe(list, inShare, own, ranks, firsts)
    }
    barrier()
    writeWholes(a, list)
    writeOthers(a, list)
  },
)

interface PlanArguments {
  readonly queryStart: In<i32, 'Starts'>
  readonly context: In<i32, 'B'>
  readonly pages: In<i32, 'B MaxPages'>
  readonly window: i32
  readonly items: Out<i32, 'Items 28'>
}

// ---- splits of a sequence -------------------------------------------------------------------------------------------

/** A sequence as its splits. */
interface Splits {
  /** First query token in the step, query tokens, and position of the first. */
  readonly token: i32
  readonly count: i32
  readonly position: i32
  /** The first token that a query sees, and the end of the context. */
  readonly from: i32
  readonly end: i32
  /** Splits in all, those of eight units, and the first of these. */
  readonly splits: i32
  readonly wholes: i32
  readonly firstWhole: i32
  /** Units of the first split and of the last (another one), where they are fewer than eight; 0 otherwise. */
  readonly head: i32
  readonly tail: i32
}

function splitsOf(a: PlanArguments, c: PlanConfig, sequence: i32): Splits {
  const sequences = a.context.dim('B')
  const safe = Math.min(sequence, sequences - 1)
  const token = a.queryStart.at(safe)
  const count = a.queryStart.at(safe + 1) - token
  const end = a.context.at(safe)
  const isDecode = sequence < sequences && count >= 1 && count <= c.queries && end >= count
  const position = end - count
  const from = Math.max(position - a.window + 1, 0)
  const [firstUnit, lastUnit] = [from >>> UNIT_BITS, (end - 1) >>> UNIT_BITS]
  const [firstSplit, lastSplit] = [firstUnit >>> 3, lastUnit >>> 3]
  const several = lastSplit > firstSplit
  const inFirst = Math.min(lastUnit, firstSplit * ITEM_UNITS + 7) - firstUnit + 1
  const inLast = lastUnit - lastSplit * ITEM_UNITS + 1
  const isWholeFirst = inFirst === ITEM_UNITS
  const isWholeLast = several && inLast === ITEM_UNITS
  const between = several ? lastSplit - firstSplit - 1 : 0
  const wholes = between + i32(isWholeFirst) + i32(isWholeLast)
  return {
    token,
    count,
    position,
    from,
    end,
    splits: isDecode ? lastSplit - firstSplit + 1 : 0,
    wholes: isDecode ? wholes : 0,
    firstWhole: isWholeFirst ? firstSplit : firstSplit + 1,
    head: isDecode && !isWholeFirst ? inFirst : 0,
    tail: isDecode && several && !isWholeLast ? inLast : 0,
  }
}

const UNIT_BITS = Math.log2(UNIT)

/** Slots of partial sums: one for each split where there are several. */
const slotsOf = ({ splits }: Splits): i32 => (splits > 1 ? splits : 0)

// ---- counting -------------------------------------------------------------------------------------------------------

interface Counters {
  /** [warp, kind]: of the sequences that the CTA looks at; and of all before the warp's. */
  readonly ofWarps: Shared<i32>
  readonly before: Shared<i32>
  /** Of all sequences so far. */
  readonly totals: Shared<i32>
}

/** What comes before a sequence's splits: of each kind that it has. */
interface Ranks {
  readonly wholes: i32
  readonly slots: i32
  readonly head: i32
  readonly tail: i32
}

/** Counts the splits of all threads' sequences, and of those before each. All threads must call it. */
function countSplits(counters: Counters, own: Splits): Ranks {
  const wholes = sumToHere(own.wholes)
  const slots = sumToHere(slotsOf(own))
  const lower = (u32(1) << u32(laneIdx)) - 1
  let head: i32 = 0
  let tail: i32 = 0
  for (const length of unroll(1, ITEM_UNITS)) {
    const [heads, tails] = [ballot(own.head === length), ballot(own.tail === length)]
    const rank = popCount(heads & lower) + popCount(tails & lower)
    head = own.head === length ? rank : head
    tail = own.tail === length ? rank + i32(own.head === length) : tail
    if (laneIdx === 0) counters.ofWarps.put(popCount(heads) + popCount(tails), warpIdx, length)
  }
  if (laneIdx === 31) {
    counters.ofWarps.put(wholes, warpIdx, WHOLE)
    counters.ofWarps.put(slots, warpIdx, SLOTS)
  }
  barrier()
  if (threadIdx.x < KINDS) {
    let total: i32 = counters.totals.at(threadIdx.x)
    for (const warp of unroll(WARPS)) {
      counters.before.put(total, warp, threadIdx.x)
      total = total + counters.ofWarps.at(warp, threadIdx.x)
    }
    counters.totals.put(total, threadIdx.x)
  }
  barrier()
  return {
    wholes: counters.before.at(warpIdx, WHOLE) + wholes - own.wholes,
    slots: counters.before.at(warpIdx, SLOTS) + slots - slotsOf(own),
    head: counters.before.at(warpIdx, own.head) + head,
    tail: counters.before.at(warpIdx, own.tail) + tail,
  }
}

/** The sum over the lanes up to the calling one. */
function sumToHere(value: i32): i32 {
  let sum = value
  for (const step of unroll(5)) {
    const lower = shuffleUp(sum, 2 ** step)
    sum = laneIdx >= 2 ** step ? sum + lower : sum
  }
  return sum
}

// ---- writing --------------------------------------------------------------------------------------------------------

/** Words of a sequence in the list of a CTA's share; behind the first query token are their number and position. */
const S_TOKEN = 0
const S_FROM = 3
const S_END = 4
const S_SPLITS = 5
const S_SLOT = 6
const S_WHOLES = 7
const S_FIRST_WHOLE = 8
const S_FIRST_ITEM = 9
/** Of the first split, and behind it of the last. */
const S_HEAD = 10
const S_HEAD_ITEM = 12
const SEQUENCE_WORDS = 16

function describe(list: Shared<i32>, at: i32, own: Splits, ranks: Ranks, firsts: Shared<i32>): void {
  store(
    list,
    [at, 0],
    [
      ...[own.token, own.count, own.position, own.from, own.end, own.splits, ranks.slots],
      ...[own.wholes, own.firstWhole, ranks.wholes, own.head, own.tail],
      ...[firsts.at(own.head) + ranks.head, firsts.at(own.tail) + ranks.tail, i32(0), i32(0)],
    ],
  )
}

/** The share's sequences that there are. */
const shareOf = (a: PlanArguments): i32 => Math.min(a.context.dim('B') - blockIdx.x * SHARE, SHARE)

/** Groups of four words of an item, each of which a thread writes. */
const QUADS = ITEM_WORDS / 4

/** Items of eight units. */
function writeWholes(a: PlanArguments, list: Shared<i32>): void {
  const count = shareOf(a)
  const first = list.at(0, S_FIRST_ITEM)
  const end = list.at(count - 1, S_FIRST_ITEM) + list.at(count - 1, S_WHOLES)
  for (const at of range(first * QUADS + threadIdx.x, end * QUADS, THREADS)) {
    const item = idiv(at, QUADS)
    // The last sequence whose first item is not behind this one.
    let index: i32 = 0
    for (const step of unroll(Math.log2(SHARE))) {
      const next = index + SHARE / 2 ** (step + 1)
      if (next < count) {
        if (list.at(next, S_FIRST_ITEM) <= item) index = next
      }
    }
    const split = list.at(index, S_FIRST_WHOLE) + (item - list.at(index, S_FIRST_ITEM))
    writeQuad(a, list, {
      index,
      unit: split * ITEM_UNITS,
      units: i32(ITEM_UNITS),
      item,
      quad: at - item * QUADS,
    })
  }
}

/** Items of fewer units: of each sequence the first split and the last. */
function writeOthers(a: PlanArguments, list: Shared<i32>): void {
  for (const at of range(threadIdx.x, shareOf(a) * 2 * QUADS, THREADS)) {
    const which = idiv(at, QUADS)
    const index = which >>> 1
    const isTail = which & 1
    const units = list.at(index, S_HEAD + isTail)
    if (units > 0) {
      const lastUnit = (list.at(index, S_END) - 1) >>> UNIT_BITS
      const unit = isTail !== 0 ? lastUnit - units + 1 : list.at(index, S_FROM) >>> UNIT_BITS
      const item = list.at(index, S_HEAD_ITEM + isTail)
      writeQuad(a, list, { index, unit, units, item, quad: at - which * QUADS })
    }
  }
}

/** Writes four words of an item. */
function writeQuad(
  a: PlanArguments,
  list: Shared<i32>,
  o: { readonly index: i32; readonly unit: i32; readonly units: i32; readonly item: i32; readonly quad: i32 },
): void {
  const { index, unit, units, item, quad } = o
  const sequence = blockIdx.x * SHARE + index
  const [from, end] = [list.at(index, S_FROM), list.at(index, S_END)]
  if (quad === 0) store(a.items, [item, 0], [units, unit, from, end])
  else if (quad === 1) {
    const [token, count, position] = load(list, [index, S_TOKEN], 4)
    store(a.items, [item, 4], [count!, token!, position!, sequence])
  } else if (quad === 2) {
    const firstSlot = list.at(index, S_SLOT)
    const slot = firstSlot + idiv(unit * UNIT, SPLIT) - idiv(from, SPLIT)
    store(a.items, [item, 8], [slot, firstSlot, list.at(index, S_SPLITS), i32(0)])
  } else {
    const first = unit * (UNIT / PAGE_TOKENS) + 4 * quad - PAGES
    const lastPage = idiv(end - 1, PAGE_TOKENS)
    const pages = [0, 1, 2, 3].map((i) => a.pages.at(sequence, Math.min(first + i, lastPage)))
    store(a.items, [item, 4 * quad], pages)
  }
}
