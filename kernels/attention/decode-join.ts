import {
  type f32,
  fma,
  type i32,
  laneIdx,
  load,
  regs,
  store,
  to,
  u32,
  voteAny,
  warpIdx,
} from '../../dsl/index.ts'
import { rescale } from './arithmetic.ts'
import { type Decode, laneRows } from './decode-lanes.ts'
import { placeOfRow, type TurnRows } from './decode-queries.ts'
import { clearPart, eachRun, isMissing, type Outputs, partialRow, partValue } from './decode-sums.ts'
import type { ValueSums } from './decode-unit.ts'
import { type Item, isFirst, isHalf } from './items.ts'

/**
 * A sequence of two parts: the item that is claimed last has its own in registers, and adds the other, which is in memory or on its
 * way there.
 */

/** Whether an item is one of two that are: not where lanes have no columns of their own, or sums of more rows than there are registers for. */
export const joins = ({ c, d }: Decode, item: Item): boolean =>
  c.D % 64 === 0 && d.laneRows === 1 && isHalf(item)

/** The slot of the other part. */
const otherSlot = ({ item }: TurnRows): i32 => (isFirst(item) ? item.firstSlot + 1 : item.firstSlot)

/** The other part of a row: its sums, and words of neighbouring columns beside the CTA's own. */
interface OtherRow {
  readonly sums: u32[]
  readonly runs: readonly {
    readonly column: i32
    readonly own: readonly f32[]
    readonly words: u32[]
  }[]
}

/** Adds the other part to `sums`, in the order of both, and gives out the rows. By the warps that compute. */
export function joinRows(o: Outputs, rows: TurnRows, sums: ValueSums): void {
  const { a, c, d, m } = o
  const slot = otherSlot(rows)
  const isOwnFirst = isFirst(rows.item)
  const own = laneRows(d)
  const others: readonly OtherRow[] = sums.values.map((values) => {
    const runs: { column: i32; own: f32[]; words: u32[] }[] = []
    eachRun(o, values, (column, run) => {
      runs.push({ column, own: run, words: regs(run.length, u32(0)) })
    })
    return { sums: regs(3, u32(0)), runs }
  })
  const read = (): void =>
    others.forEach(({ sums, runs }, j) => {
      const at = partialRow(o, rows, Math.min(own[j]!, c.rows - 1))
      const all = load(a.partials, [slot, at, c.D], 4, { cache: 'relaxed' })
      sums.forEach((_, i) => {
        sums[i] = all[i]!
      })
      for (const { column, words } of runs) {
        load(a.partials, [slot, at, column], words.length, { cache: 'relaxed' }).forEach((word, i) => {
          words[i] = word
        })
      }
    })
  const misses = (): boolean =>
    others
      .map(({ sums, runs }, j) => {
        const words = [...sums, ...runs.flatMap((run) => run.words)]
        return placeOfRow(o, rows, own[j]!).isLive && isMissing(words)
      })
      .reduce((x, y) => x || y)
  read()
  while (voteAny(misses())) read()
  others.forEach((other, j) => {
    const row = own[j]!
    const place = placeOfRow(o, rows, row)
    if (place.isLive) {
      const [reference, total, offset] = other.sums.map(partValue)
      const [ownTotal, ownOffset] = load(m.rowSums, [row, 0], 2)
      const first = (own: f32, other: f32) => (isOwnFirst ? own : other)
      const second = (own: f32, other: f32) => (isOwnFirst ? other : own)
      const references = [sums.references[j]!, reference!] as const
      const { keep, factor } = rescale(first(...references), second(...references))
      const add = (own: f32, other: f32): f32 => fma(second(own, other), factor, first(own, other) * keep)
      const share = 1 / add(ownTotal!, total!)
      const shift = add(ownOffset!, offset!)
      for (const { column, own, words } of other.runs) {
        store(
          a.out,
          [place.token, place.column + column],
          own.map((value, i) => to(c.dtype, (add(value, partValue(words[i]!)) + shift) * share)),
        )
        clearPart(o, [slot, partialRow(o, rows, row), column], words.length)
      }
    }
  })
}

/** Leaves the other part's sums as they were before it, when all warps have read them. */
export function leaveJoined(o: Outputs, rows: TurnRows): void {
  const { c, d } = o
  laneRows(d).forEach((row) => {
    if (warpIdx === 0 && laneIdx < 4 && placeOfRow(o, rows, row).isLive)
      clearPart(o, [otherSlot(rows), partialRow(o, rows, row), c.D], 4)
  })
}
