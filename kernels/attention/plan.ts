import {
  atomicAdd,
  atomicMax,
  ballot,
  barrier,
  each,
  f32,
  type In,
  type InOut,
  i32,
  idiv,
  kernel,
  laneIdx,
  leadingZeros,
  load,
  type Out,
  range,
  reduxAdd,
  reduxMax,
  regs,
  type Shared,
  shared,
  shuffle,
  shuffleDown,
  store,
  threadIdx,
  unroll,
  waitForPrevious,
  warpIdx,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { SPLIT, UNIT } from './arithmetic.ts'
import { hasEngine } from './decode-copies.ts'
import { type DecodeConfig, decodeShape } from './decode-shape.ts'
import { ITEM_WORDS, MOST_SPLITS, PARTS, RUN_BITS, SPLIT_BITS, SPLIT_UNITS, UNIT_BITS } from './items.ts'

export interface PlanConfig {
  /** Query tokens of the longest sequences that decode attention takes. */
  readonly queries: number
  /** CTAs that share the work of a key/value head and pass. */
  readonly ctas: number
  /** Whether there are sequences that are not decode attention's, which `prompts` then tells. */
  readonly prompts?: boolean
}

/** What the plan has to know of the kernel that goes by it. */
export const planConfig = (c: DecodeConfig): PlanConfig => ({
  queries: c.queries,
  ctas: c.ctas / (c.Hkv * decodeShape(c).passes),
})

/** Threads of the CTA, each of which looks at one sequence at a time. */
const THREADS = 1024

/** Units of a step at most of which splits are cut. */
const FINE_UNITS = 512

/** Units of such a step's sequences at most: who adds up more parts takes longer than the items of whole splits. */
const FINE_LENGTH = 72

/** Room for the items of any step of so many splits, and for the slots of its partial sums. */
export const roomFor = (splits: number): number =>
  Math.max(splits, Math.min(splits * SPLIT_UNITS, FINE_UNITS))

/** Splits of so many sequences at most. */
export const mostSplits = (sequences: number, maxPages: number): number =>
  sequences * ceilDiv(maxPages * PAGE_TOKENS, SPLIT)

export const mostItems = (sequences: number, maxPages: number): number =>
  roomFor(mostSplits(sequences, maxPages))

/** Units of an item at most. */
const MOST_UNITS = MOST_SPLITS * SPLIT_UNITS

/** What a CTA may have more than its share, so that a sequence need not be cut. */
const EXCESS = 1.2

/** Pages of a unit. */
const UNIT_PAGES = UNIT / PAGE_TOKENS

/** Room for items by weight (`weightOf`): as many for each lane of a warp. */
const WEIGHTS = 32 * ceilDiv(MOST_UNITS * UNIT_PAGES + 1, 32)

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
  { grid: () => [1], block: [THREADS] },
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
    const s: Counters = {
      runs: shared<i32>('i32', [FINE_RUNS]),
      longest: shared<i32>('i32', [1]),
      slots: shared<i32>('i32', [1]),
      ranks: shared<i32>('i32', [WEIGHTS]),
      items: shared<i32>('i32', [1]),
      keys: shared<i32>('i32', [MOST_DEALT]),
      loads: shared<i32>('i32', [Math.ceil(c.ctas)]),
      turns: shared<i32>('i32', [Math.ceil(c.ctas)]),
    }
    if (threadIdx.x < FINE_RUNS) s.runs.put(0, threadIdx.x)
    if (threadIdx.x === 0) {
      s.longest.put(0, 0)
      s.slots.put(0, 0)
    }
    if (threadIdx.x < WEIGHTS) s.ranks.put(0, threadIdx.x)
    barrier()
    for (const first of range(0, sequences, THREADS)) {
      const own = sequenceOf(a, c, first + threadIdx.x)
      for (const bits of unroll(FINE_RUNS)) {
        const runs = reduxAdd(runsOf(own, bits))
        if (laneIdx === 0) atomicAdd(s.runs, [bits], runs)
      }
      const longest = reduxMax(unitsOf(own))
      if (laneIdx === 0) atomicMax(s.longest, [0], longest)
    }
    barrier()
    const sizes = sizesOf(s, c)
    for (const first of range(0, sequences, THREADS)) {
      const own = sequenceOf(a, c, first + threadIdx.x)
      const { head, between, tail } = cutOf(own, sizes)
      count(s, weightOf(headPages(own, head), tail > 0), i32(1))
      count(s, weightOf(sizes.run * UNIT_PAGES, true), between)
      count(s, weightOf(tailPages(own, tail), true), i32(1))
    }
    barrier()
    if (warpIdx === 0) rankItems(s)
    barrier()
    const items = s.items.at(0)
    const rows = dealtRows(a, c, items)
    const places = rows > 0 ? rows * Math.floor(c.ctas) : items
    if (threadIdx.x === 0) a.itemCount.put(places, 0)
    for (const first of range(0, sequences, THREADS)) {
      const own = sequenceOf(a, c, first + threadIdx.x)
      const cut = cutOf(own, sizes)
      let ranks = takeRanks(s, own, sizes, cut)
      if (rows > 0) {
        putKeys(s, own, sizes, cut, ranks)
        barrier()
        orderCtas(s, c, rows, items)
        barrier()
        ranks = settledRanks(s, own, sizes, cut, items)
      }
      writeItems(a, c, s, own, sizes, cut, ranks, rows)
    }
    if (rows > 0) {
      for (const rank of range(items + threadIdx.x, places, THREADS)) {
        const none = each(ITEM_WORDS, () => i32(0))
        store(a.items, [placeOf(s, c, rows, rank), 0], none)
      }
      barrier()
      putPartsFirst(a, s, c, rows, items)
    }
  },
)

interface PlanArguments {
  readonly queryStart: In<i32, 'Starts'>
  readonly context: In<i32, 'B'>
  readonly pages: In<i32, 'B MaxPages'>
  readonly prompts?: In<i32, 'B'>
  readonly window: i32
  readonly items: InOut<i32, 'Items 12'>
}

interface Counters {
  /** Runs of 1, 2, 4 units of all sequences, units of the longest, and slots that are taken. */
  readonly runs: Shared<i32>
  readonly longest: Shared<i32>
  readonly slots: Shared<i32>
  /** By weight less 1: items of this weight, and then the rank of the next of them. */
  readonly ranks: Shared<i32>
  /** All items. */
  readonly items: Shared<i32>
  /** Of items that are dealt out: by rank among those of other weights the weight, and which sequence's and part's it is. */
  readonly keys: Shared<i32>
  /** By the rank of a CTA's first item what it has to do, and its place among CTAs. */
  readonly loads: Shared<i32>
  readonly turns: Shared<i32>
}

// ---- sequences ------------------------------------------------------------------------------------------------------

interface Sequence {
  readonly sequence: i32
  /** First query token in the step, and query tokens. */
  readonly token: i32
  readonly count: i32
  /** The first token that a query sees, and the end of the context. */
  readonly from: i32
  readonly end: i32
  /** The units of both; the last is before the first where decode attention has nothing to do. */
  readonly firstUnit: i32
  readonly lastUnit: i32
}

function sequenceOf(a: PlanArguments, c: PlanConfig, sequence: i32): Sequence {
  const sequences = a.context.dim('B')
  const safe = Math.min(sequence, sequences - 1)
  const token = a.queryStart.at(safe)
  const count = a.queryStart.at(safe + 1) - token
  const end = a.context.at(safe)
  const prompt = c.prompts ? a.prompts!.at(safe) : 0
  const isDecode = sequence < sequences && count >= 1 && count <= c.queries && end >= count && prompt === 0
  const from = Math.max(end - count - a.window + 1, 0)
  const firstUnit = isDecode ? from >>> UNIT_BITS : 0
  const lastUnit = isDecode ? (end - 1) >>> UNIT_BITS : -1
  return { sequence: safe, token, count, from, end, firstUnit, lastUnit }
}

const unitsOf = ({ firstUnit, lastUnit }: Sequence): i32 => lastUnit - firstUnit + 1

// ---- cutting --------------------------------------------------------------------------------------------------------

/** Lengths of runs that splits are cut into: powers of two below a split. */
const FINE_RUNS = SPLIT_BITS

/** Runs of 2^bits units that a sequence has something of. */
const runsOf = ({ firstUnit, lastUnit }: Sequence, bits: number): i32 =>
  (lastUnit >> bits) - (firstUnit >> bits) + 1

/** What sequences are cut by. */
interface Sizes {
  /** Units of a sequence that is not cut, at most. */
  readonly most: i32
  /** Units of the items that others are cut into: a power of two, or a multiple of a split. */
  readonly run: i32
  /** The same, but a split at most. */
  readonly inSplit: i32
}

function sizesOf(s: Counters, c: PlanConfig): Sizes {
  const units = s.runs.at(0)
  const mayCut = units <= FINE_UNITS && s.longest.at(0) <= FINE_LENGTH
  let fine: i32 = 0
  for (const bits of unroll(FINE_RUNS)) {
    const shorter = FINE_RUNS - 1 - bits
    if (s.runs.at(shorter) <= Math.floor(c.ctas) && mayCut) fine = 2 ** shorter
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
interface Cut {
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

function cutOf(own: Sequence, sizes: Sizes): Cut {
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
function partsBefore(unit: i32, { inSplit }: Sizes): i32 {
  const rest = unit & (SPLIT_UNITS - 1)
  const ofRest = rest === 0 ? 0 : 1 + Math.max(rest - inSplit, 0)
  return (unit >>> SPLIT_BITS) * (1 + SPLIT_UNITS - inSplit) + ofRest
}

/** Pages of a sequence's first item, and of its last one; 0 where there is none. */
const headPages = ({ from, end, firstUnit }: Sequence, units: i32): i32 =>
  units > 0 ? pagesBetween(from, Math.min((firstUnit + units) * UNIT, end)) : 0

const tailPages = ({ end, lastUnit }: Sequence, units: i32): i32 =>
  units > 0 ? pagesBetween((lastUnit + 1 - units) * UNIT, end) : 0

/** What an item takes a CTA, in pages: a part has to be given to others, or added to theirs. */
const weightOf = (pages: i32, isPart: boolean): i32 => (pages > 0 ? pages + i32(isPart) : 0)

const pagesBetween = (from: i32, end: i32): i32 => idiv(end - 1, PAGE_TOKENS) - idiv(from, PAGE_TOKENS) + 1

// ---- counting -------------------------------------------------------------------------------------------------------

function count(s: Counters, weight: i32, items: i32): void {
  if (weight > 0 && items > 0) atomicAdd(s.ranks, [weight - 1], items)
}

/** Makes numbers of items ranks: the heaviest first. By one warp. */
function rankItems(s: Counters): void {
  const width = WEIGHTS / 32
  const own = load(s.ranks, [width * laneIdx], width)
  let heavier: i32 = own.reduce((x, y) => x + y)
  for (const step of unroll(5)) {
    const other = shuffleDown(heavier, 2 ** step)
    heavier = laneIdx + 2 ** step < 32 ? heavier + other : heavier
  }
  let rank: i32 = heavier
  own.forEach((items, i) => {
    rank = rank - items
    s.ranks.put(rank, width * laneIdx + i)
  })
  if (laneIdx === 0) s.items.put(heavier, 0)
}

// ---- writing --------------------------------------------------------------------------------------------------------

/** Ranks of a sequence's first item, of those behind it, which follow each other, and of the last. */
interface Ranks {
  readonly head: i32
  readonly between: i32
  readonly tail: i32
}

/** The weights of the same. */
const weightsOf = (own: Sequence, { run }: Sizes, cut: Cut): Ranks => ({
  head: weightOf(headPages(own, cut.head), cut.tail > 0),
  between: weightOf(run * UNIT_PAGES, true),
  tail: weightOf(tailPages(own, cut.tail), true),
})

/** Takes ranks, which are in no order among items of one weight. */
function takeRanks(s: Counters, own: Sequence, sizes: Sizes, cut: Cut): Ranks {
  const take = (weight: i32, items: i32): i32 =>
    weight > 0 && items > 0 ? atomicAdd(s.ranks, [weight - 1], items) : 0
  const weights = weightsOf(own, sizes, cut)
  return {
    head: take(weights.head, i32(1)),
    between: take(weights.between, cut.between),
    tail: take(weights.tail, i32(1)),
  }
}

function writeItems(
  a: PlanArguments,
  c: PlanConfig,
  s: Counters,
  own: Sequence,
  sizes: Sizes,
  cut: Cut,
  { head, between, tail }: Ranks,
  rows: i32,
): void {
  const slot = cut.parts > 1 ? atomicAdd(s.slots, [0], cut.parts) : 0
  const { run } = sizes
  const parts = { sizes, firstSlot: slot, parts: cut.parts, next: cut.next }
  if (cut.head > 0)
    writeItem(a, own, parts, { place: placeOf(s, c, rows, head), unit: own.firstUnit, units: cut.head })
  if (cut.tail > 0)
    writeItem(a, own, parts, {
      place: placeOf(s, c, rows, tail),
      unit: own.lastUnit - cut.tail + 1,
      units: cut.tail,
    })
  // Those of long contexts are written by all lanes.
  let left = ballot(cut.between > 0)
  while (left !== 0) {
    const lane = 31 - leadingZeros(left & (0 - left))
    left = left & (left - 1)
    const of = (value: i32): i32 => shuffle(value, lane)
    const theirs: Sequence = {
      sequence: of(own.sequence),
      token: of(own.token),
      count: of(own.count),
      from: of(own.from),
      end: of(own.end),
      firstUnit: of(own.firstUnit),
      lastUnit: of(own.lastUnit),
    }
    const theirParts = { sizes, firstSlot: of(slot), parts: of(cut.parts), next: of(cut.next) }
    const [items, first] = [of(cut.between), of(between)]
    for (const i of range(laneIdx, items, 32))
      writeItem(a, theirs, theirParts, {
        place: placeOf(s, c, rows, first + i),
        unit: theirParts.next + i * run,
        units: run,
      })
  }
}

function writeItem(
  a: PlanArguments,
  { sequence, token, count, from, end, firstUnit }: Sequence,
  {
    sizes,
    firstSlot,
    parts,
    next,
  }: { readonly sizes: Sizes; readonly firstSlot: i32; readonly parts: i32; readonly next: i32 },
  { place, unit, units }: { readonly place: i32; readonly unit: i32; readonly units: i32 },
): void {
  const page = unit * (UNIT / PAGE_TOKENS)
  const lastPage = idiv(end - 1, PAGE_TOKENS)
  const pages = [page, Math.min(page + 1, lastPage)].map((at) => a.pages.at(sequence, at))
  const before = 1 + partsBefore(unit, sizes) - partsBefore(next, sizes)
  const slot = unit === firstUnit ? firstSlot : firstSlot + before
  store(
    a.items,
    [place, 0],
    [
      ...[
        units,
        unit,
        from,
        end,
        count,
        token,
        sequence,
        slot,
        firstSlot,
        parts | (sizes.inSplit << RUN_BITS),
      ],
      ...pages,
    ],
  )
}

// ---- dealing --------------------------------------------------------------------------------------------------------

/** Items that are dealt out at most; more are listed as they rank, for CTAs have many then. */
const MOST_DEALT = 512

/**
 * Turns of CTAs that all items are dealt out in, with places to spare in the last; 0 where items are listed as they rank: where
 * each has a CTA of its own, where CTAs are no multiple of heads, or there is no room.
 */
function dealtRows(a: PlanArguments, c: PlanConfig, items: i32): i32 {
  if (!Number.isInteger(c.ctas)) return i32(0)
  const rows = idiv(items + c.ctas - 1, c.ctas)
  const isDealt = items > c.ctas && items <= MOST_DEALT && a.context.dim('B') <= THREADS
  return isDealt && rows * c.ctas <= a.items.dim('Items') ? rows : 0
}

/** A number in the order in which items are dealt out: by weight, and then by sequence. */
const keyOf = (weight: i32, { sequence }: Sequence, kind: number): i32 => (weight << 16) - 4 * sequence - kind

const weightOfKey = (key: i32): i32 => (key + 0xffff) >>> 16

/** Puts down the keys of a sequence's items by the ranks that it has taken. */
function putKeys(s: Counters, own: Sequence, sizes: Sizes, cut: Cut, ranks: Ranks): void {
  const weights = weightsOf(own, sizes, cut)
  if (cut.head > 0) s.keys.put(keyOf(weights.head, own, 0), ranks.head)
  for (const i of range(cut.between)) s.keys.put(keyOf(weights.between, own, 1), ranks.between + i)
  if (cut.tail > 0) s.keys.put(keyOf(weights.tail, own, 2), ranks.tail)
}

/** The ranks of a sequence's items, in order of their keys. */
function settledRanks(s: Counters, own: Sequence, sizes: Sizes, cut: Cut, items: i32): Ranks {
  const weights = weightsOf(own, sizes, cut)
  const keys = [keyOf(weights.head, own, 0), keyOf(weights.between, own, 1), keyOf(weights.tail, own, 2)]
  const [head, between, tail] = [i32(0), i32(0), i32(0)].map((zero) => regs(1, zero))
  const all = [head!, between!, tail!]
  for (const i of range(items)) {
    const key = s.keys.at(i)
    all.forEach((rank, kind) => {
      rank[0] = rank[0]! + i32(key > keys[kind]!)
    })
  }
  return { head: head![0]!, between: between![0]!, tail: tail![0]! }
}

/**
 * Finds the turns of CTAs, which are known by the rank of their first item: those that have much to do stand between those that
 * have little, for neighbours share a multiprocessor. By all threads; a barrier must follow.
 */
function orderCtas(s: Counters, c: PlanConfig, rows: i32, items: i32): void {
  const ctas = Math.floor(c.ctas)
  for (const own of range(threadIdx.x, ctas, THREADS)) {
    let load: i32 = 0
    for (const row of range(rows)) {
      const rank = row * ctas + ((row & 1) === 1 ? ctas - 1 - own : own)
      load = load + (rank < items ? weightOfKey(s.keys.at(Math.min(rank, items - 1))) + 1 : 0)
    }
    s.loads.put(load, own)
  }
  barrier()
  for (const own of range(threadIdx.x, ctas, THREADS)) {
    const load = s.loads.at(own)
    let before: i32 = 0
    for (const other of range(ctas)) {
      const theirs = s.loads.at(other)
      before = before + i32(theirs > load || (theirs === load && other < own))
    }
    s.turns.put(2 * before < ctas ? 2 * before : 2 * (ctas - 1 - before) + 1, own)
  }
}

/** The place of an item by its rank. Ranks go back and forth over CTAs: who has one of the heaviest gets one of the lightest next. */
function placeOf(s: Counters, { ctas }: PlanConfig, rows: i32, rank: i32): i32 {
  if (!Number.isInteger(ctas)) return rank
  let place: i32 = rank
  if (rows > 0) {
    const row = idiv(rank, ctas)
    const isBack = (row & 1) === 1
    const forth = rank - row * ctas
    const cta = s.turns.at(isBack ? ctas - 1 - forth : forth)
    // Turns go back and forth, too (`turnAt`).
    place = row * ctas + (isBack ? ctas - 1 - cta : cta)
  }
  return place
}

/** Of the first two items that a CTA takes, puts one that is a part before one that is whole. */
function putPartsFirst(a: PlanArguments, s: Counters, c: PlanConfig, rows: i32, items: i32): void {
  for (const own of range(threadIdx.x, Math.floor(c.ctas), THREADS)) {
    const ranks = [own, 2 * Math.floor(c.ctas) - 1 - own]
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
