import {
  atomicAdd,
  ballot,
  each,
  f32,
  fma,
  type In,
  type InOut,
  i32,
  idiv,
  LOG2E,
  laneIdx,
  leadingZeros,
  load,
  type Out,
  range,
  reduxAdd,
  reduxMax,
  regs,
  store,
  storeWords,
  syncWarp,
  threadFence,
  to,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { packBytes } from '../../dsl/std/index.ts'
import {
  addSums,
  NO_REFERENCE,
  queryCode,
  queryRate,
  queryStep,
  type RowSums,
  rescale,
  splitQuery,
} from './arithmetic.ts'
import { packPair } from './decode-floats.ts'
import type { Decode } from './decode-lanes.ts'
import { partOf } from './decode-memory.ts'
import { SLICES } from './decode-shape.ts'
import { type RoundUnit, teamOf } from './rounds.ts'

/** What goes into rows and comes out. */
export interface RowArguments {
  readonly q: In<number, 'T HqD'>
  readonly scale: f32
  readonly partials: InOut<f32, 'Slots PartialRows PartialColumns'>
  readonly arrivals: InOut<i32, 'B Counters'>
  readonly out: Out<number, 'T HqD'>
}

/** Which rows a team has: those of a key/value head, and of a pass over them. */
interface TeamRows {
  readonly unit: RoundUnit
  readonly head: i32
  readonly pass: i32
}

/** The query token (in the step) and the column of a row's first element. */
function placeOfRow({ c, d }: Decode, { unit, head, pass }: TeamRows, row: i32) {
  const index = pass * d.rows + row
  const query = i32(idiv(u32(index), u32(d.group)))
  return {
    token: unit.token + query,
    column: (head * d.group + (index - query * d.group)) * c.D,
    isLive: index < unit.count * d.group,
  }
}

// ---- queries --------------------------------------------------------------------------------------------------------

/** Elements of the first of a team's rows that the calling warp quantizes, on their way. */
export function loadFirstQuery(o: Decode & { readonly a: RowArguments }, rows: TeamRows): f32[] {
  return loadQuery(o, rows, warpIdx - teamOf(rows.unit).first)
}

/** A lane's elements of a query, four of each 128; zeros for rows past the last. */
function loadQuery(o: Decode & { readonly a: RowArguments }, rows: TeamRows, row: i32): f32[] {
  const { a, c, d } = o
  const { token, column, isLive } = placeOfRow(o, rows, row)
  const turns = ceilDiv(c.D, 128)
  const values = regs(4 * turns, f32(0))
  for (const turn of unroll(turns)) {
    const word = laneIdx + 32 * turn
    if (isLive && row < d.rows && (c.D % 128 === 0 || word < c.D / 4)) {
      load(a.q, [token, column + 4 * word], 4).forEach((value, i) => {
        values[4 * turn + i] = f32(value)
      })
    }
  }
  return values
}

/**
 * Quantizes the queries of a team's rows, which its warps deal out; beside 16-bit keys they stay as they are. `first` is what
 * `loadFirstQuery` gave.
 */
export function prepareQueries(
  o: Decode & { readonly a: RowArguments },
  rows: TeamRows,
  first: readonly f32[],
): void {
  const { a, c, d, m } = o
  const team = teamOf(rows.unit)
  const place = team.number
  const values = regs(first.length, f32(0))
  for (const i of unroll(first.length)) values[i] = first[i]!
  const begin = warpIdx - team.first
  for (const row of range(begin, d.rows, team.warps)) {
    if (row > begin) {
      loadQuery(o, rows, row).forEach((value, i) => {
        values[i] = value
      })
    }
    const turns = ceilDiv(c.D, 128)
    let top: f32 = 0
    for (const i of unroll(first.length)) top = Math.max(top, Math.abs(values[i]!))
    if (d.bits === 16) {
      for (const turn of unroll(turns)) {
        const word = laneIdx + 32 * turn
        const own = values.slice(4 * turn, 4 * turn + 4)
        const words = [packPair(c.dtype, own[0]!, own[1]!), packPair(c.dtype, own[2]!, own[3]!)]
        if (c.D % 128 === 0 || word < c.D / 4) storeWords(m.queries, [place, row, 2 * word], words)
      }
      if (laneIdx === 0) store(m.rowInfo, [place, row, 0], [a.scale * LOG2E, f32(0)])
      continue
    }
    // Magnitudes are in the order of their bits.
    const largest = f32.bits(reduxMax(u32.bits(top)))
    const rate = queryRate(largest)
    const codes = values.map((value) => queryCode(value, rate))
    const sum = reduxAdd(codes.reduce((x, y) => x + y))
    for (const turn of unroll(turns)) {
      const word = laneIdx + 32 * turn
      if (c.D % 128 === 0 || word < c.D / 4) {
        const parts = codes.slice(4 * turn, 4 * turn + 4).map(splitQuery)
        const at = queryPlace(o, word)
        const [p0, p1, p2, p3] = parts
        const high = packBytes(p0!.high, p1!.high, p2!.high, p3!.high)
        const low = packBytes(p0!.low, p1!.low, p2!.low, p3!.low)
        m.queries.put(high, place, row, partOf(c, 0) + at)
        m.queries.put(low, place, row, partOf(c, 1) + at)
      }
    }
    if (laneIdx === 0) store(m.rowInfo, [place, row, 0], [queryStep(largest, a.scale), f32(sum)])
  }
}

/**
 * Where a word of four columns goes, so that each quarter of a row's words are the columns of a lane's keys, and the two
 * words of a step are neighbours.
 */
function queryPlace({ d }: Decode, word: i32): i32 {
  if (d.bits !== 4) return word
  // Of 32 columns words 0 to 3 are lower nibbles, and 4 to 7 the upper ones of the same words.
  const keyWord = 4 * (word >>> 3) + (word & 3)
  const upper = (word >>> 2) & 1
  return 2 * keyWord + upper
}

// ---- sums -----------------------------------------------------------------------------------------------------------

/** Units whose sums a lane reads at once. */
const TOGETHER = 4

/** Adds up a team's units in their order, and gives out its rows, or the split's part of them. */
export function mergeUnits(o: Decode & { readonly a: RowArguments }, rows: TeamRows): void {
  const { a, c, d, m } = o
  const { unit } = rows
  const team = teamOf(unit)
  eachItem(o, rows, idiv(SLICES - 1 - (warpIdx - team.first), team.warps) + 1, (item) => {
    const slice = warpIdx - team.first + item.slice * team.warps
    const column = slice * (c.D / SLICES) + item.column
    const place = placeOfRow(o, rows, item.row)
    // Sums of upper nibbles are 16 times what they stand for.
    const share = column >= c.D / 2 ? f32(1 / 16) : f32(1)
    const sums = noSums()
    for (const begin of range(0, team.warps, TOGETHER)) {
      const parts = each(TOGETHER, (i) => {
        const warp = team.first + Math.min(begin + i, team.warps - 1)
        return {
          statistics: load(m.statistics, [warp, item.row, 0], 4),
          codes: load(m.sums, [warp, item.row * d.sumPitch + column], 4),
        }
      })
      parts.forEach(({ statistics: [reference, total, offset, step], codes }, i) => {
        const part = {
          reference: begin + i < team.warps ? reference! : f32(NO_REFERENCE),
          total: total!,
          offset: offset!,
        }
        add(sums, part, codes, d.bits === 4 ? step! * share : step!)
      })
    }
    if (unit.splits === 1) putRow(a, c.dtype, place.token, place.column + column, sums)
    else putPartial(o, rows, { ...item, slice }, sums)
  })
}

/** Four columns of a row of a slice. */
interface Item {
  readonly slice: i32
  readonly row: i32
  /** The first column within the slice. */
  readonly column: i32
}

/** Deals four columns at a time of all rows of `slices` slices out to lanes; rows past the last are left out. */
function eachItem(o: Decode, rows: TeamRows, slices: i32, body: (item: Item) => void): void {
  const quads = o.c.D / (4 * SLICES)
  const items = o.d.rows * quads
  for (const at of range(laneIdx, slices * items, 32)) {
    const slice = idiv(at, items)
    const inSlice = at - slice * items
    const row = idiv(inSlice, quads)
    if (placeOfRow(o, rows, row).isLive) body({ slice, row, column: 4 * (inSlice - row * quads) })
  }
}

/** A row's sums, and those of four of its columns. */
interface Sums {
  row: { reference: f32; total: f32; offset: f32 }
  readonly codes: f32[]
}

const noSums = (): Sums => ({
  row: { reference: f32(NO_REFERENCE), total: f32(0), offset: f32(0) },
  codes: regs(4, f32(0)),
})

function add(sums: Sums, part: RowSums, codes: readonly f32[], step: f32): void {
  const change = rescale(sums.row.reference, part.reference)
  const factor = step * change.factor
  const { reference, total, offset } = addSums(sums.row, part, change)
  sums.row.reference = reference
  sums.row.total = total
  sums.row.offset = offset
  for (const i of unroll(4)) sums.codes[i] = fma(codes[i]!, factor, sums.codes[i]! * change.keep)
}

/** The outputs of four columns. */
function putRow(a: RowArguments, dtype: 'f16' | 'bf16', token: i32, column: i32, sums: Sums): void {
  const share = 1 / sums.row.total
  store(
    a.out,
    [token, column],
    sums.codes.map((code) => to(dtype, (code + sums.row.offset) * share)),
  )
}

/** A slice of a row of `partials`: its columns, then reference, total and offset. */
const sliceWidth = (D: number): number => D / SLICES + 4

const partialRow = ({ d }: Decode, { head, pass }: TeamRows, row: i32): i32 =>
  (head * d.passes + pass) * d.rows + row

function putPartial(
  o: Decode & { readonly a: RowArguments },
  rows: TeamRows,
  { slice, row, column }: Item,
  sums: Sums,
): void {
  const { a, c } = o
  const at = partialRow(o, rows, row)
  const first = slice * sliceWidth(c.D)
  store(a.partials, [rows.unit.slot, at, first + column], sums.codes)
  const { reference, total, offset } = sums.row
  if (column === 0)
    store(a.partials, [rows.unit.slot, at, first + c.D / SLICES], [reference, total, offset, f32(0)])
}

/**
 * A split's part that a warp has stored, and not yet told of. It does so a round later, when the stores are done, and looks
 * at the answer still later: neither is then waited for.
 */
export interface Pending {
  /** Its turn; -1 where there is none. */
  turn: i32
  splits: i32
  sequence: i32
  /** The counter of the lane's slice; -1 for lanes without one. */
  counter: i32
  /** Parts that were there before. */
  before: i32
}

export const noPending = (): Pending => ({
  turn: i32(-1),
  splits: i32(0),
  sequence: i32(0),
  counter: i32(-1),
  before: i32(-1),
})

/** Notes the part that the calling warp has stored of a round, if any. */
export function notePart({ d }: Decode, pending: Pending, rows: TeamRows, turn: i32): void {
  const { unit } = rows
  const team = teamOf(unit)
  const has = unit.splits > 1
  const isOwn =
    laneIdx < SLICES &&
    laneIdx >= warpIdx - team.first &&
    (laneIdx - (warpIdx - team.first)) % team.warps === 0
  pending.turn = has ? turn : -1
  pending.splits = unit.splits
  pending.sequence = unit.sequence
  pending.counter = isOwn ? (rows.head * d.passes + rows.pass) * SLICES + laneIdx : -1
}

/** Tells of the part that is pending. */
export function announcePart({ a }: { readonly a: RowArguments }, pending: Pending): void {
  if (pending.turn >= 0) {
    threadFence()
    syncWarp()
    if (pending.counter >= 0)
      pending.before = atomicAdd(a.arrivals, [pending.sequence, pending.counter], i32(1))
  }
}

/** The slices, a bit each, of which the part was the last to arrive. */
export function lastSlices({ a }: { readonly a: RowArguments }, pending: Pending): u32 {
  const isLast = pending.counter >= 0 && pending.before === pending.splits - 1
  if (isLast) a.arrivals.put(0, pending.sequence, pending.counter)
  return ballot(isLast)
}

/** Splits whose parts are under way at once, where there are many; and of the last few. */
const MANY = 8
const FEW = 2

/** Adds up all splits of a sequence in order, of the slices of which all parts are there. */
export function mergeSplits(o: Decode & { readonly a: RowArguments }, rows: TeamRows, last: u32): void {
  threadFence()
  let left = last
  while (left !== 0) {
    // The lowest slice that is left.
    const slice = 31 - leadingZeros(left & (0 - left))
    left = left & (left - 1)
    eachItem(o, rows, i32(1), ({ row, column }) => {
      mergeParts(o, rows, { slice, row, column })
    })
  }
}

/** Adds up the parts of four columns of a row, and gives out the outputs. */
function mergeParts(o: Decode & { readonly a: RowArguments }, rows: TeamRows, item: Item): void {
  const { a, c } = o
  const { unit } = rows
  const { slice, row, column } = item
  const at = partialRow(o, rows, row)
  const first = slice * sliceWidth(c.D)
  const sums = noSums()
  const addParts = (begin: i32, n: number) => {
    const parts = each(n, (i) => {
      const slot = unit.firstSlot + Math.min(begin + i, unit.splits - 1)
      return {
        codes: load(a.partials, [slot, at, first + column], 4, { cache: 'cg' }),
        row: load(a.partials, [slot, at, first + c.D / SLICES], 4, { cache: 'cg' }),
      }
    })
    parts.forEach(({ codes, row: [reference, total, offset] }, i) => {
      const isPart = begin + i < unit.splits
      const part = { reference: isPart ? reference! : f32(NO_REFERENCE), total: total!, offset: offset! }
      add(sums, part, codes, f32(1))
    })
  }
  const many = unit.splits & ~(MANY - 1)
  for (const begin of range(0, many, MANY)) addParts(begin, MANY)
  for (const begin of range(many, unit.splits, FEW)) addParts(begin, FEW)
  const place = placeOfRow(o, rows, row)
  putRow(a, c.dtype, place.token, place.column + slice * (c.D / SLICES) + column, sums)
}
