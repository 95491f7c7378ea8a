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
import { placeOf, turnAt } from './decode-copies.ts'
import { ownTiles } from './decode-floats.ts'
import { type Decode, laneRows } from './decode-lanes.ts'
import { placeOfRow, type TurnRows } from './decode-queries.ts'
import type { ValueSums } from './decode-unit.ts'
import { ITEM_WORDS, SEQUENCE } from './items.ts'

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

/**
 * Turns whose sequences are whole: the CTA had the last of their parts. They are a chain: a turn's counter, which nobody else
 * looks at any more, holds the turn before. Known to the first thread.
 */
export interface WholeTurns {
  /** The last of the chain, counted from 1; 0 where there is none. */
  last: i32
  /** The turn that was told of at last, and parts that were still to come then: looked at when the next one is. */
  told: i32
  missing: i32
}

export const noWhole = (): WholeTurns => ({ last: i32(0), told: i32(-1), missing: i32(1) })

/** Tells of the `stored` parts of the step's item that all threads have stored. A barrier must stand before. */
export function announceParts(
  o: Outputs,
  { item, head, pass }: TurnRows,
  whole: WholeTurns,
  { items, step, stored }: { readonly items: i32; readonly step: i32; readonly stored: i32 },
): void {
  const { a, d, m } = o
  if (threadIdx.x === 0) {
    chainTold(o, items, whole)
    threadFence()
    const before = atomicAdd(a.arrivals, [item.sequence, head * d.passes + pass], stored)
    whole.missing = item.parts - stored - before
    whole.told = turnAt(step)
    store(m.told, [0, 0], load(m.items, [step & 1, 0], ITEM_WORDS))
  }
}

/** Puts the turn that was told of at last at the end of the chain, if its sequence is whole. By the first thread. */
function chainTold({ a, c, d, m }: Outputs, items: i32, whole: WholeTurns): void {
  if (whole.missing === 0) {
    const { head, pass } = placeOf(a, c, d, items, whole.told)
    a.arrivals.put(whole.last, m.told.at(0, SEQUENCE), head * d.passes + pass)
    whole.last = whole.told + 1
  }
}
