import {
  ballot,
  barrier,
  blockIdx,
  ceilDiv,
  gridDim,
  type In,
  i32,
  idiv,
  kernel,
  laneIdx,
  type Out,
  popCount,
  range,
  regs,
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
import { eachIdle, makeRuns, packRuns, placeIn, type Runs, TEAM_BIT } from './plan-runs.ts'
import { ENTRY, ROUND_UNITS } from './rounds.ts'

export interface PlanConfig {
  /** Query tokens of the longest sequences that decode attention takes. */
  readonly queries: number
}

/** Threads of a CTA, each of which looks at one sequence at a time. */
const THREADS = 256
const WARPS = THREADS / 32

/** Sequences whose entries a CTA writes. */
const SHARE = 64

/** Room for the rounds of any step, and for the slots of its partial sums. */
export const mostRounds = (sequences: number, maxPages: number): number =>
  sequences * ceilDiv(maxPages * PAGE_TOKENS, SPLIT)

/** What is counted of sequences: splits of eight units (at 0), splits of 1 to 7, and slots of partial sums. */
const WHOLE = 0
const SLOTS = ROUND_UNITS
const KINDS = ROUND_UNITS + 1

/**
 * Lists the rounds of decode attention for a step: for every layer the same.
 *
 * A split of eight units is a round of its own. Shorter ones, the ends of contexts, share rounds, so that all rounds are
 * about equally long and CTAs that take them in turns end together. What else a round holds does not matter to a result.
 *
 * Each CTA counts all sequences, and writes the entries of some. Sequences without query tokens, or with more than
 * `queries`, have none.
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
      rounds: Out<i32, 'Rounds 8 12'>
      roundCount: Out<i32, '1'>
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
    const runs = makeRuns()
    const list = shared<i32>('i32', [SHARE, SEQUENCE_WORDS])

    if (threadIdx.x < KINDS) counters.totals.put(0, threadIdx.x)
    barrier()
    for (const first of range(0, sequences, THREADS)) {
      countSplits(counters, splitsOf(a, c, first + threadIdx.x))
    }
    if (threadIdx.x === 0) packRuns(runs, counters.totals)
    barrier()
    const rounds = runs.count.at(1)
    barrier()
    if (threadIdx.x < KINDS) counters.totals.put(0, threadIdx.x)
    barrier()
    for (const first of range(0, sequences, THREADS)) {
      const own = splitsOf(a, c, first + threadIdx.x)
      const ranks = countSplits(counters, own)
      const inShare = first + threadIdx.x - blockIdx.x * SHARE
      if (inShare >= 0 && inShare < SHARE) describe(list, inShare, own, ranks, runs)
    }
    barrier()
    writeWholes(a, list)
    writeOthers(a, list)
    // Warps for which no split is left.
    eachIdle(runs, (first, end, warp) => {
      const begin = first + blockIdx.x * THREADS + threadIdx.x
      for (const round of range(begin, end, gridDim.x * THREADS)) {
        for (const idle of range(warp, ROUND_UNITS)) store(a.rounds, [round, idle, 0], regs(ENTRY, i32(0)))
      }
    })
    if (blockIdx.x === 0 && threadIdx.x === 0) a.roundCount.put(rounds, 0)
  },
)

interface PlanArguments {
  readonly queryStart: In<i32, 'Starts'>
  readonly context: In<i32, 'B'>
  readonly pages: In<i32, 'B MaxPages'>
  readonly window: i32
  readonly rounds: Out<i32, 'Rounds 8 12'>
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
  const inFirst = Math.min(lastUnit, firstSplit * ROUND_UNITS + 7) - firstUnit + 1
  const inLast = lastUnit - lastSplit * ROUND_UNITS + 1
  const isWholeFirst = inFirst === ROUND_UNITS
  const isWholeLast = several && inLast === ROUND_UNITS
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
  for (const length of unroll(1, ROUND_UNITS)) {
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

/** Words of a sequence in the list of a CTA's share. */
const S_TOKEN = 0
const S_COUNT = 1
const S_POSITION = 2
const S_FROM = 3
const S_END = 4
const S_SPLITS = 5
const S_SLOT = 6
const S_WHOLES = 7
const S_FIRST_WHOLE = 8
const S_FIRST_ROUND = 9
/** Of the first split, and behind it of the last. */
const S_HEAD = 10
const S_HEAD_PLACE = 12
const SEQUENCE_WORDS = 16

function describe(list: Shared<i32>, at: i32, own: Splits, ranks: Ranks, runs: Runs): void {
  const headPlace = placeIn(runs, own.head, ranks.head)
  const tailPlace = placeIn(runs, own.tail, ranks.tail)
  store(
    list,
    [at, 0],
    [
      ...[own.token, own.count, own.position, own.from, own.end, own.splits, ranks.slots],
      ...[own.wholes, own.firstWhole, ranks.wholes, own.head, own.tail, headPlace, tailPlace, i32(0), i32(0)],
    ],
  )
}

/** The share's sequences that there are. */
const shareOf = (a: PlanArguments): i32 => Math.min(a.context.dim('B') - blockIdx.x * SHARE, SHARE)

/** Entries of splits of eight units, a thread an entry. */
function writeWholes(a: PlanArguments, list: Shared<i32>): void {
  const count = shareOf(a)
  const first = list.at(0, S_FIRST_ROUND)
  const end = list.at(count - 1, S_FIRST_ROUND) + list.at(count - 1, S_WHOLES)
  for (const at of range(first * ROUND_UNITS + threadIdx.x, end * ROUND_UNITS, THREADS)) {
    const round = at >>> 3
    // The last sequence whose first round is not behind this one.
    let index: i32 = 0
    for (const step of unroll(6)) {
      const next = index + 2 ** (5 - step)
      if (next < count) {
        if (list.at(next, S_FIRST_ROUND) <= round) index = next
      }
    }
    const split = list.at(index, S_FIRST_WHOLE) + (round - list.at(index, S_FIRST_ROUND))
    const unit = split * ROUND_UNITS + (at & 7)
    writeUnit(a, list, { index, unit, place: at, team: i32(ROUND_UNITS << 8) })
  }
}

/** Entries of shorter splits, a thread an entry: eight of each first split, and of each last. */
function writeOthers(a: PlanArguments, list: Shared<i32>): void {
  for (const at of range(threadIdx.x, shareOf(a) * 2 * ROUND_UNITS, THREADS)) {
    const index = at >>> 4
    const isTail = (at & 8) !== 0
    const length = list.at(index, S_HEAD + i32(isTail))
    const own = at & 7
    if (own < length) {
      const placeAndTeam = list.at(index, S_HEAD_PLACE + i32(isTail))
      const place = placeAndTeam & (2 ** TEAM_BIT - 1)
      const lastUnit = (list.at(index, S_END) - 1) >>> UNIT_BITS
      const first = isTail ? lastUnit - length + 1 : list.at(index, S_FROM) >>> UNIT_BITS
      const team = (place & 7) | ((placeAndTeam >>> TEAM_BIT) << 4) | (length << 8)
      writeUnit(a, list, { index, unit: first + own, place: place + own, team })
    }
  }
}

function writeUnit(
  a: PlanArguments,
  list: Shared<i32>,
  o: { readonly index: i32; readonly unit: i32; readonly place: i32; readonly team: i32 },
): void {
  const { index, unit, place, team } = o
  const sequence = blockIdx.x * SHARE + index
  const [from, end] = [list.at(index, S_FROM), list.at(index, S_END)]
  const first = unit * UNIT
  const live = Math.max(from - first, 0) | (Math.min(end - first, UNIT) << 16)
  const page = unit * (UNIT / PAGE_TOKENS)
  const lastPage = idiv(end - 1, PAGE_TOKENS)
  const splits = list.at(index, S_SPLITS)
  const firstSlot = list.at(index, S_SLOT)
  const firstSplit = idiv(from, SPLIT)
  store(
    a.rounds,
    [place >>> 3, place & 7, 0],
    [
      ...[live, a.pages.at(sequence, page), a.pages.at(sequence, Math.min(page + 1, lastPage))],
      ...[list.at(index, S_COUNT), unit, team, list.at(index, S_TOKEN), list.at(index, S_POSITION)],
      ...[sequence, firstSlot + (unit >>> 3) - firstSplit, firstSlot, splits],
    ],
  )
}
