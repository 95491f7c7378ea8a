import {
  each,
  f32,
  fma,
  i32,
  laneIdx,
  load,
  range,
  regs,
  shuffle,
  shuffleUp,
  store,
  to,
  u32,
  unroll,
  voteAny,
  warpIdx,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { NO_REFERENCE, rescale } from './arithmetic.ts'
import { placeOf } from './decode-copies.ts'
import { meet } from './decode-lanes.ts'
import { placeOfRow, type TurnRows } from './decode-queries.ts'
import { WARPS } from './decode-shape.ts'
import { clearPart, isMissing, type Outputs, partialRow, partValue } from './decode-sums.ts'
import { type Item, loadItem, SPLIT_BITS, SPLIT_UNITS, UNIT_BITS } from './items.ts'

/** Parts of a round, whose values are under way at once: no split has more. */
const ROUND = SPLIT_UNITS

/** Parts of a round that are looked at together. */
const FEW = 4

/** Adds up the parts of the sequences that `giveClaimed` gives. By the warps that compute. */
export function mergeClaimed(o: Outputs, items: i32): void {
  const { a, c, d, m } = o
  meet()
  let turn = m.merged.at(0)
  while (turn !== 0) {
    const { head, pass } = placeOf(a, c, d, items, turn - 1)
    mergeParts(o, { head, pass, item: loadItem(m.claimed, i32(0)) })
    meet()
    meet()
    turn = m.merged.at(0)
  }
}

/** Adds up all parts of a sequence in order, and gives out its rows, each by a warp. */
function mergeParts(o: Outputs, rows: TurnRows): void {
  const { c } = o
  const { item } = rows
  const mergeRow = (row: i32): void => {
    const place = placeOfRow(o, rows, row)
    if (place.isLive) {
      const from = partialRow(o, rows, row)
      for (const turn of unroll(ceilDiv(c.D, 128))) mergeQuads(o, item, from, place, i32(32 * turn))
    }
  }
  // Of a loop that is gone through once the compiler would keep what does not change in it.
  if (c.rows > WARPS) for (const row of range(warpIdx, c.rows, WARPS)) mergeRow(row)
  else if (warpIdx < c.rows) mergeRow(warpIdx)
}

/**
 * Adds up four columns of a row in each lane, from column `4 * quad` on. Where splits are cut, a round has the parts of one, and
 * its sums are added to those of the splits before; otherwise it has eight splits. What a part and the sums before it are
 * multiplied by follows from the parts' references alone: each lane finds it for one of them. Words that are still missing are
 * read again, and what has been read is made missing.
 */
function mergeQuads(
  o: Outputs,
  item: Item,
  row: i32,
  place: { readonly token: i32; readonly column: i32 },
  quad: i32,
): void {
  const { a, c } = o
  const own = quad + laneIdx
  const column = 4 * Math.min(own, c.D / 4 - 1)
  const loadWordsAt = (part: i32, at: i32) =>
    load(a.partials, [item.firstSlot + part, row, at], 4, { cache: 'relaxed' })
  const clearWordsAt = (part: i32, at: i32) => clearPart(o, [item.firstSlot + part, row, at])

  const isCut = item.run < SPLIT_UNITS
  const length = isCut ? 1 + SPLIT_UNITS - item.run : ROUND
  let begin: i32 = 0
  let end = isCut ? firstParts(item) : ROUND
  // What a round needs is under way before the one before it has been added up.
  const ahead = each(ROUND, () => regs(4, u32(0)))
  const setAhead = (i: number, part: i32): void => {
    loadWordsAt(Math.min(part, item.parts - 1), column).forEach((word, n) => {
      ahead[i]![n] = word
    })
  }
  for (const i of unroll(ROUND)) setAhead(i, i32(i))
  const ownSums = regs(4, u32(0))
  const setSums = (part: i32): void => {
    loadWordsAt(Math.min(part, item.parts - 1), i32(c.D)).forEach((word, n) => {
      ownSums[n] = word
    })
  }
  setSums(laneIdx)
  const [sums, all] = [noColumns(), noColumns()]
  while (begin < item.parts) {
    const isPart = begin + laneIdx < Math.min(end, item.parts)
    const part = begin + laneIdx
    while (voteAny(isPart && isMissing(ownSums))) setSums(part)
    const [given, step] = [partValue(ownSums[0]!), partValue(ownSums[3]!)]
    const [total, offset] = [1, 2].map((i) => (isPart ? partValue(ownSums[i]!) : f32(0)))
    const reference = isPart ? given : f32(NO_REFERENCE)
    // The largest reference up to each part, and up to the one before it.
    let largest = Math.max(sums.reference, reference)
    for (const bits of unroll(Math.log2(ROUND))) {
      const lower = shuffleUp(largest, 2 ** bits)
      largest = laneIdx >= 2 ** bits ? Math.max(largest, lower) : largest
    }
    const below = shuffleUp(largest, 1)
    const change = rescale(laneIdx === 0 ? sums.reference : below, reference)
    const { keep } = change
    const factor = isPart ? change.factor : 0
    // A unit's values count in units of its step.
    const valueFactor = step > 0 ? factor * step : factor
    if (isPart && quad + 32 >= c.D / 4) clearWordsAt(part, i32(c.D))
    setSums(end + laneIdx)
    for (const few of unroll(ROUND / FEW)) {
      const those = each(FEW, (i) => few * FEW + i)
      if (begin + few * FEW < Math.min(end, item.parts)) {
        while (voteAny(those.map((i) => isMissing(ahead[i]!)).reduce((x, y) => x || y)))
          for (const i of those) setAhead(i, begin + i)
        for (const i of those) {
          const of = (value: f32): f32 => shuffle(value, i)
          const part = { values: ahead[i]!.map(partValue), total: of(total!), offset: of(offset!) }
          addColumns(sums, part, { keep: of(keep), factor: of(factor), valueFactor: of(valueFactor) })
        }
        for (const i of those)
          if (begin + i < Math.min(end, item.parts) && own < c.D / 4) clearWordsAt(begin + i, column)
      }
      if (end + few * FEW < item.parts) for (const i of those) setAhead(i, end + i)
    }
    sums.reference = shuffle(largest, ROUND - 1)
    begin = end
    end = end + length
    if (isCut || begin >= item.parts) {
      const last = rescale(all.reference, sums.reference)
      addColumns(all, sums, { ...last, valueFactor: last.factor })
      all.reference = last.reference
      // What the next split begins with is multiplied by 0.
      sums.reference = NO_REFERENCE
    }
  }
  const share = 1 / all.total
  if (own < c.D / 4) {
    store(
      a.out,
      [place.token, place.column + column],
      all.values.map((sum) => to(c.dtype, (sum + all.offset) * share)),
    )
  }
}

/** Parts of a sequence's first split, of which the first item is one. */
function firstParts({ from, run }: Item): i32 {
  const unit = from >>> UNIT_BITS
  const next = (unit & (0 - run)) + run
  return 1 + ((unit >>> SPLIT_BITS) + 1) * SPLIT_UNITS - next
}

/** Four columns of a row, or of a part of it, and its sums of probabilities. */
interface Columns {
  readonly values: readonly f32[]
  readonly total: f32
  readonly offset: f32
}

interface ColumnSums extends Columns {
  reference: f32
  readonly values: f32[]
  total: f32
  offset: f32
}

const noColumns = (): ColumnSums => ({
  reference: f32(NO_REFERENCE),
  values: regs(4, f32(0)),
  total: f32(0),
  offset: f32(0),
})

/** What sums are multiplied by, and the part that is added to them. */
interface Change {
  readonly keep: f32
  readonly factor: f32
  readonly valueFactor: f32
}

function addColumns(sums: ColumnSums, part: Columns, { keep, factor, valueFactor }: Change): void {
  sums.total = fma(part.total, factor, sums.total * keep)
  sums.offset = fma(part.offset, factor, sums.offset * keep)
  for (const n of unroll(4)) sums.values[n] = fma(part.values[n]!, valueFactor, sums.values[n]! * keep)
}
