import {
  atomicAdd,
  type f32,
  type InOut,
  i32,
  laneIdx,
  load,
  type Out,
  store,
  threadFence,
  threadIdx,
  to,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { columnRuns } from './decode-codes.ts'
import { ownTiles } from './decode-floats.ts'
import { type Decode, laneRows } from './decode-lanes.ts'
import { placeOfRow, type TurnRows } from './decode-queries.ts'
import type { ValueSums } from './decode-unit.ts'

/** What becomes of sums. */
export interface SumArguments {
  readonly partials: InOut<f32, 'Slots PartialRows PartialColumns'>
  readonly arrivals: InOut<i32, 'B Counters'>
  readonly out: Out<number, 'T HqD'>
}

export type Outputs = Decode & { readonly a: SumArguments }

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

/** The row of a slot of `partials`. */
export const partialRow = ({ c, d }: Decode, { head, pass }: TurnRows, row: i32): i32 =>
  (head * d.passes + pass) * c.rows + row

/**
 * Stores the sums of a part of a sequence. What continues a split is a unit, in units of the step of each of the lane's rows;
 * what begins one has steps of 0.
 */
export function putPart(o: Outputs, rows: TurnRows, slot: i32, sums: ValueSums, steps: readonly f32[]): void {
  const { a, c, d, m } = o
  laneRows(d).forEach((row, j) => {
    if (placeOfRow(o, rows, row).isLive) {
      const at = partialRow(o, rows, row)
      eachRun(o, sums.values[j]!, (column, run) => {
        store(a.partials, [slot, at, column], run)
      })
      if (warpIdx === 0 && laneIdx < 4) {
        const [total, offset] = load(m.rowSums, [row, 0], 2)
        store(a.partials, [slot, at, c.D], [sums.references[j]!, total!, offset!, steps[j]!])
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
