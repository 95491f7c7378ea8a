import {
  atomicAdd,
  each,
  f32,
  fma,
  type InOut,
  i32,
  laneIdx,
  load,
  type Out,
  range,
  regs,
  shuffle,
  shuffleUp,
  store,
  threadFence,
  threadIdx,
  to,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { NO_REFERENCE, rescale } from './arithmetic.ts'
import { columnRuns } from './decode-codes.ts'
import { ownTiles } from './decode-floats.ts'
import { type Decode, laneRows } from './decode-lanes.ts'
import { placeOfRow, type TurnRows } from './decode-queries.ts'
import { WARPS } from './decode-shape.ts'
import type { ValueSums } from './decode-unit.ts'
import type { Item } from './items.ts'

/** What becomes of sums. */
export interface SumArguments {
  readonly partials: InOut<f32, 'Slots PartialRows PartialColumns'>
  readonly arrivals: InOut<i32, 'B Counters'>
  readonly out: Out<number, 'T HqD'>
}

type Outputs = Decode & { readonly a: SumArguments }

/** Runs of neighbouring columns of which a lane has sums: their first one and the values, of [fragment][half]. */
function eachRun({ c, d }: Decode, values: readonly f32[][], body: (column: i32, run: f32[]) => void): void {
  if (d.bits === 16) {
    ownTiles(c.D, d.tiles).forEach(({ tile, isOwn }, i) => {
      if (c.D % 64 === 0 || isOwn) {
        for (const half of unroll(2)) body(16 * tile + 8 * half + (laneIdx >>> 2), [values[i]![half]!])
      }
    })
    return
  }
  let fragment = 0
  for (const { words, column, isOwn } of columnRuns(c.D)) {
    const own = values.slice(fragment, fragment + words)
    if (c.D % 64 === 0 || isOwn) {
      for (const half of unroll(2)) {
        body(
          column + (half * c.D) / 2,
          own.map((tile) => tile[half]!),
        )
      }
    }
    fragment += words
  }
}

/** Gives out the rows of a sequence of one split. */
export function putRows(o: Outputs, rows: TurnRows, sums: ValueSums): void {
  const { a, c, d, m } = o
  laneRows(d).forEach((row, j) => {
    const place = placeOfRow(o, rows, row)
    if (place.isLive) {
      const [total, offset] = load(m.rowSums, [row, 0], 2)
      const share = 1 / total!
      eachRun(o, sums.values[j]!, (column, run) => {
        store(
          a.out,
          [place.token, place.column + column],
          run.map((sum) => to(c.dtype, (sum + offset!) * share)),
        )
      })
    }
  })
}

const partialRow = ({ c, d }: Decode, { head, pass }: TurnRows, row: i32): i32 =>
  (head * d.passes + pass) * c.rows + row

/** Stores the sums of a part of a sequence. */
export function putPart(o: Outputs, rows: TurnRows, slot: i32, sums: ValueSums): void {
  const { a, c, d, m } = o
  laneRows(d).forEach((row, j) => {
    if (placeOfRow(o, rows, row).isLive) {
      const at = partialRow(o, rows, row)
      eachRun(o, sums.values[j]!, (column, run) => {
        store(a.partials, [slot, at, column], run)
      })
      if (warpIdx === 0 && laneIdx < 4) {
        const [total, offset] = load(m.rowSums, [row, 0], 2)
        store(a.partials, [slot, at, c.D], [sums.references[j]!, total!, offset!, f32(0)])
      }
    }
  })
}

/** An item's parts that have been stored and told of; whether they were the last is looked at after the next item. */
export interface Pending {
  /** Their turn; -1 where there is none. */
  turn: i32
  /** Parts that are still to come. Known to the first thread. */
  missing: i32
}

export const noPending = (): Pending => ({ turn: i32(-1), missing: i32(0) })

/** Tells of the `stored` parts that all threads have stored. A barrier must stand before. */
export function announceParts(
  { a, d }: Outputs,
  { item, head, pass }: TurnRows,
  pending: Pending,
  { turn, stored }: { readonly turn: i32; readonly stored: i32 },
): void {
  pending.turn = turn
  if (threadIdx.x === 0) {
    threadFence()
    const counter = head * d.passes + pass
    pending.missing = item.parts - stored - atomicAdd(a.arrivals, [item.sequence, counter], stored)
    if (pending.missing === 0) a.arrivals.put(0, item.sequence, counter)
  }
}

/** Gives all threads the answer; a barrier must follow. */
export function giveAnswer({ m }: Decode, pending: Pending): void {
  if (threadIdx.x === 0) m.isLast.put(i32(pending.missing === 0), 0)
}

/** Parts whose values are under way at once. */
const TOGETHER = 8

/**
 * Adds up all parts of a sequence in order, and gives out its rows, each by a warp. What a part and the sums before it are
 * multiplied by follows from the parts' references alone: lanes find it for 32 parts at once.
 */
export function mergeParts(o: Outputs, rows: TurnRows): void {
  const { c } = o
  const { item } = rows
  threadFence()
  for (const row of range(warpIdx, c.rows, WARPS)) {
    const place = placeOfRow(o, rows, row)
    if (place.isLive) {
      const from = partialRow(o, rows, row)
      for (const quad of range(0, c.D / 4, 32)) mergeQuads(o, item, from, place, quad)
    }
  }
}

/** Adds up four columns of a row in each lane, from column `4 * quad` on. */
function mergeQuads(
  { a, c }: Outputs,
  item: Item,
  row: i32,
  place: { readonly token: i32; readonly column: i32 },
  quad: i32,
): void {
  const own = quad + laneIdx
  const column = 4 * Math.min(own, c.D / 4 - 1)
  const values = regs(4, f32(0))
  const sums = { reference: f32(NO_REFERENCE), total: f32(0), offset: f32(0) }
  for (const begin of range(0, item.parts, 32)) {
    const part = begin + laneIdx
    const slot = item.firstSlot + Math.min(part, item.parts - 1)
    const [given, total, offset] = load(a.partials, [slot, row, c.D], 4, { cache: 'cg' })
    const reference = part < item.parts ? given! : f32(NO_REFERENCE)
    // The largest reference up to each part, and up to the one before it.
    let largest = Math.max(sums.reference, reference)
    for (const step of unroll(5)) {
      const lower = shuffleUp(largest, 2 ** step)
      largest = laneIdx >= 2 ** step ? Math.max(largest, lower) : largest
    }
    const below = shuffleUp(largest, 1)
    const change = rescale(laneIdx === 0 ? sums.reference : below, reference)
    for (const first of range(0, Math.min(item.parts - begin, 32), TOGETHER)) {
      const loaded = each(TOGETHER, (i) => {
        const at = Math.min(begin + first + i, item.parts - 1)
        return load(a.partials, [item.firstSlot + at, row, column], 4, { cache: 'cg' })
      })
      // Parts past the last are multiplied by 0, and the sums before them by 1.
      loaded.forEach((theirs, i) => {
        const of = (value: f32): f32 => shuffle(value, first + i)
        const [keep, factor] = [of(change.keep), of(change.factor)]
        sums.total = fma(of(total!), factor, sums.total * keep)
        sums.offset = fma(of(offset!), factor, sums.offset * keep)
        for (const n of unroll(4)) values[n] = fma(theirs[n]!, factor, values[n]! * keep)
      })
    }
    sums.reference = shuffle(largest, 31)
  }
  const share = 1 / sums.total
  if (own < c.D / 4) {
    store(
      a.out,
      [place.token, place.column + column],
      values.map((sum) => to(c.dtype, (sum + sums.offset) * share)),
    )
  }
}
