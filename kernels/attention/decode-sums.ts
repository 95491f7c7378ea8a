import {
  each,
  f32,
  type InOut,
  type i32,
  laneIdx,
  load,
  type Out,
  store,
  to,
  u32,
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
  readonly partials: InOut<u32, 'Slots PartialRows PartialColumns'>
  readonly arrivals: InOut<i32, 'B Counters'>
  readonly out: Out<number, 'T HqD'>
}

export type Outputs = Decode & { readonly a: SumArguments }

/** Runs of neighbouring columns of which a lane has sums: their first one and the values, of [fragment][half]. */
export function eachRun(
  { c, d }: Decode,
  values: readonly f32[][],
  body: (column: i32, run: f32[]) => void,
): void {
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

/** What stands where a word of a part is still to come: the bits of a NaN that no arithmetic gives. */
const MISSING = 0xffffffff

/**
 * A word of a part: the bits of its number, which are never those of a missing one. Who adds parts up sees word by word what is
 * there, without fences, and leaves missing ones.
 */
const partWord = (value: f32): u32 => Math.min(u32.bits(value), MISSING - 1)

/** The number that a word of a part stands for. */
export const partValue = (word: u32): f32 => f32.bits(word)

/** Whether words of a part are still to come. */
export const isMissing = (words: readonly u32[]): boolean =>
  words.map((word) => word === MISSING).reduce((x, y) => x || y)

/** Leaves words of a part as they were before it. */
export const clearPart = ({ a }: Outputs, at: readonly i32[], words: number): void =>
  store(
    a.partials,
    at,
    each(words, () => u32(MISSING)),
    { cache: 'relaxed' },
  )

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
        store(a.partials, [slot, at, column], run.map(partWord), { cache: 'relaxed' })
      })
      if (warpIdx === 0 && laneIdx < 4) {
        const [total, offset] = load(m.rowSums, [row, 0], 2)
        const words = [sums.references[j]!, total!, offset!, steps[j]!].map(partWord)
        store(a.partials, [slot, at, c.D], words, { cache: 'relaxed' })
      }
    }
  })
}
