import {
  atomicAdd,
  f32,
  fma,
  type In,
  type InOut,
  type i32,
  idiv,
  LOG2E,
  laneIdx,
  load,
  type Out,
  range,
  regs,
  shuffle,
  store,
  storeWords,
  syncWarp,
  threadFence,
  to,
  i32 as toI32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { packBytes, warpMax, warpSum } from '../../dsl/std/index.ts'
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
import type { RoundUnit } from './rounds.ts'

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

/** A team's first warp, its warps, and which of them the calling one is. */
function teamOf({ team }: RoundUnit) {
  const first = team & 0xff
  return { first, warps: team >>> 8, own: warpIdx - first }
}

/** The query token (in the step) and the column of a row's first element. */
function placeOfRow({ c, d }: Decode, { unit, head, pass }: TeamRows, row: i32) {
  const index = pass * d.rows + row
  const query = idiv(index, d.group)
  return {
    token: unit.token + query,
    column: (head * d.group + (index - query * d.group)) * c.D,
    isLive: index < unit.count * d.group,
  }
}

// ---- queries --------------------------------------------------------------------------------------------------------

/**
 * Quantizes the queries of a team's rows, which its warps deal out; beside 16-bit keys they stay as they are. Rows past the
 * last are zeros.
 */
export function prepareQueries(o: Decode & { readonly a: RowArguments }, rows: TeamRows): void {
  const { a, c, d, m } = o
  const team = teamOf(rows.unit)
  for (const row of range(team.own, d.rows, team.warps)) {
    const { token, column, isLive } = placeOfRow(o, rows, row)
    const turns = ceilDiv(c.D, 128)
    const values = regs(4 * turns, f32(0))
    let top: f32 = 0
    for (const turn of unroll(turns)) {
      const word = laneIdx + 32 * turn
      if (isLive && (c.D % 128 === 0 || word < c.D / 4)) {
        load(a.q, [token, column + 4 * word], 4).forEach((value, i) => {
          values[4 * turn + i] = f32(value)
          top = Math.max(top, Math.abs(values[4 * turn + i]!))
        })
      }
    }
    if (d.bits === 16) {
      for (const turn of unroll(turns)) {
        const word = laneIdx + 32 * turn
        const own = values.slice(4 * turn, 4 * turn + 4)
        const words = [packPair(c.dtype, own[0]!, own[1]!), packPair(c.dtype, own[2]!, own[3]!)]
        if (c.D % 128 === 0 || word < c.D / 4) storeWords(m.queries, [team.first, row, 2 * word], words)
      }
      if (laneIdx === 0) store(m.rowInfo, [team.first, row, 0], [a.scale * LOG2E, f32(0)])
      continue
    }
    const largest = warpMax(top)
    const rate = queryRate(largest)
    const codes = values.map((value) => queryCode(value, rate))
    const sum = warpSum(codes.reduce((x, y) => x + y))
    for (const turn of unroll(turns)) {
      const word = laneIdx + 32 * turn
      if (c.D % 128 === 0 || word < c.D / 4) {
        const parts = codes.slice(4 * turn, 4 * turn + 4).map(splitQuery)
        const place = queryPlace(o, word)
        const [p0, p1, p2, p3] = parts
        const high = packBytes(p0!.high, p1!.high, p2!.high, p3!.high)
        const low = packBytes(p0!.low, p1!.low, p2!.low, p3!.low)
        m.queries.put(high, team.first, row, partOf(c, 0) + place)
        m.queries.put(low, team.first, row, partOf(c, 1) + place)
      }
    }
    if (laneIdx === 0) store(m.rowInfo, [team.first, row, 0], [queryStep(largest, a.scale), f32(sum)])
  }
}

/** Where a word of four columns goes, so that each quarter of a row's words are the columns of a lane's keys. */
function queryPlace({ c, d }: Decode, word: i32): i32 {
  if (d.bits !== 4) return word
  // Of 32 columns words 0 to 3 are lower nibbles, and 4 to 7 the upper ones of the same words.
  const keyWord = 4 * (word >>> 3) + (word & 3)
  const own = c.D / 32
  const lane = idiv(keyWord, own)
  const upper = (word >>> 2) & 1
  return lane * (2 * own) + upper * own + (keyWord - lane * own)
}

// ---- sums -----------------------------------------------------------------------------------------------------------

/** Adds up a team's units in their order, and gives out its rows, or the split's part of them. */
export function mergeUnits(o: Decode & { readonly a: RowArguments }, rows: TeamRows): void {
  const { a, c, d, m } = o
  const { unit } = rows
  const team = teamOf(unit)
  const quads = c.D / (4 * SLICES)
  for (const slice of range(team.own, SLICES, team.warps)) {
    for (const turn of unroll(ceilDiv(d.rows * quads, 32))) {
      const item = laneIdx + 32 * turn
      const row = idiv(item, quads)
      const column = slice * (c.D / SLICES) + 4 * (item - row * quads)
      if (item < d.rows * quads) {
        const place = placeOfRow(o, rows, row)
        if (place.isLive) {
          // Sums of upper nibbles are 16 times what they stand for.
          const share = d.bits === 4 ? (column >= c.D / 2 ? f32(1 / 16) : f32(1)) : f32(1)
          const sums = noSums()
          for (const i of range(team.warps)) {
            const [reference, total, offset, step] = load(m.statistics, [team.first + i, row, 0], 4)
            const codes = load(m.sums, [team.first + i, row * d.sumPitch + column], 4)
            const part = { reference: reference!, total: total!, offset: offset! }
            add(sums, part, codes, d.bits === 4 ? step! * share : step!)
          }
          if (unit.splits === 1) putRow(a, c.dtype, place.token, place.column + column, sums)
          else putPartial(o, rows, row, slice, 4 * (item - row * quads), sums)
        }
      }
    }
    if (unit.splits > 1) mergeSplits(o, rows, slice)
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
  row: i32,
  slice: i32,
  column: i32,
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

/** Splits whose parts are under way at once. */
const AHEAD = 8

/** Of the warps that have a slice of a split, the last to arrive adds all of them up in order. */
function mergeSplits(o: Decode & { readonly a: RowArguments }, rows: TeamRows, slice: i32): void {
  const { a, c, d } = o
  const { unit } = rows
  const counter = (rows.head * d.passes + rows.pass) * SLICES + slice
  threadFence()
  syncWarp()
  let before: i32 = 0
  if (laneIdx === 0) before = atomicAdd(a.arrivals, [unit.sequence, counter], toI32(1))
  if (shuffle(before, 0) !== unit.splits - 1) return
  threadFence()
  if (laneIdx === 0) a.arrivals.put(0, unit.sequence, counter)
  const quads = c.D / (4 * SLICES)
  for (const turn of unroll(ceilDiv(d.rows * quads, 32))) {
    const item = laneIdx + 32 * turn
    const row = idiv(item, quads)
    const column = 4 * (item - row * quads)
    if (item < d.rows * quads) {
      const place = placeOfRow(o, rows, row)
      if (place.isLive) {
        const at = partialRow(o, rows, row)
        const first = slice * sliceWidth(c.D)
        const sums = noSums()
        for (const begin of range(0, unit.splits, AHEAD)) {
          const parts = Array.from({ length: AHEAD }, (_, i) => {
            const slot = unit.firstSlot + Math.min(begin + i, unit.splits - 1)
            return {
              codes: load(a.partials, [slot, at, first + column], 4, { cache: 'cg' }),
              row: load(a.partials, [slot, at, first + c.D / SLICES], 4, { cache: 'cg' }),
            }
          })
          parts.forEach(({ codes, row }, i) => {
            const [reference, total, offset] = row
            const isPart = begin + i < unit.splits
            const part = {
              reference: isPart ? reference! : f32(NO_REFERENCE),
              total: total!,
              offset: offset!,
            }
            add(sums, part, codes, f32(1))
          })
        }
        putRow(a, c.dtype, place.token, place.column + slice * (c.D / SLICES) + column, sums)
      }
    }
  }
}
