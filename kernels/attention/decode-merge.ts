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
  threadFence,
  threadIdx,
  to,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { NO_REFERENCE, rescale } from './arithmetic.ts'
import { placeOf } from './decode-copies.ts'
import { meetComputing } from './decode-lanes.ts'
import { placeOfRow, type TurnRows } from './decode-queries.ts'
import { WARPS } from './decode-shape.ts'
import { type Outputs, partialRow, type WholeTurns } from './decode-sums.ts'
import { ITEM_WORDS, type Item, loadItem, SEQUENCE, SPLIT_BITS, SPLIT_UNITS, UNIT_BITS } from './items.ts'

/** Parts of a round, whose values are under way at once: no split has more. */
const ROUND = SPLIT_UNITS

/** Adds up the parts of the sequences of which the CTA had the last one. By the warps that compute. */
export function mergeWhole(o: Outputs, items: i32, whole: WholeTurns): void {
  const { a, c, d, m } = o
  if (threadIdx.x === 0) {
    const isWhole = whole.missing === 0
    m.whole.put(isWhole ? whole.told + 1 : 0, 0)
    // Others' parts are there for whoever meets this thread, and reads past the L1 cache.
    if (isWhole) threadFence()
    else if (whole.last !== 0) takeLast(o, items, whole)
  }
  meetComputing()
  let turn = m.whole.at(0)
  while (turn !== 0) {
    const { head, pass } = placeOf(a, c, d, items, turn - 1)
    const item = loadItem(m.told, i32(0))
    mergeParts(o, { head, pass, item })
    meetComputing()
    if (threadIdx.x === 0) {
      a.arrivals.put(0, item.sequence, head * d.passes + pass)
      m.whole.put(0, 0)
      if (whole.last !== 0) takeLast(o, items, whole)
    }
    meetComputing()
    turn = m.whole.at(0)
  }
}

/** Takes the last turn off the chain, for all warps. By the first thread. */
function takeLast({ a, c, d, m }: Outputs, items: i32, whole: WholeTurns): void {
  threadFence()
  m.whole.put(whole.last, 0)
  const { item, head, pass } = placeOf(a, c, d, items, whole.last - 1)
  const words = load(a.items, [item, 0], ITEM_WORDS)
  store(m.told, [0, 0], words)
  const [before] = load(a.arrivals, [words[SEQUENCE]!, head * d.passes + pass], 1, { cache: 'cg' })
  whole.last = before!
}

/** Adds up all parts of a sequence in order, and gives out its rows, each by a warp. */
function mergeParts(o: Outputs, rows: TurnRows): void {
  const { c } = o
  const { item } = rows
  for (const row of range(warpIdx, c.rows, WARPS)) {
    const place = placeOfRow(o, rows, row)
    if (place.isLive) {
      const from = partialRow(o, rows, row)
      for (const quad of range(0, c.D / 4, 32)) mergeQuads(o, item, from, place, quad)
    }
  }
}

/**
 * Adds up four columns of a row in each lane, from column `4 * quad` on. Where splits are cut, a round has the parts of one, and
 * its sums are added to those of the splits before; otherwise it has eight splits. What a part and the sums before it are
 * multiplied by follows from the parts' references alone: each lane finds it for one of them.
 */
function mergeQuads(
  { a, c }: Outputs,
  item: Item,
  row: i32,
  place: { readonly token: i32; readonly column: i32 },
  quad: i32,
): void {
  const own = quad + laneIdx
  const column = 4 * Math.min(own, c.D / 4 - 1)
  const slotOf = (part: i32): i32 => item.firstSlot + Math.min(part, item.parts - 1)
  const loadPart = (part: i32) => load(a.partials, [slotOf(part), row, column], 4, { cache: 'cg' })
  const loadSums = (part: i32) => load(a.partials, [slotOf(part), row, c.D], 4, { cache: 'cg' })

  const isCut = item.run < SPLIT_UNITS
  const length = isCut ? 1 + SPLIT_UNITS - item.run : ROUND
  let begin: i32 = 0
  let end = isCut ? firstParts(item) : ROUND
  // What the next round needs is under way, each in the place of what this one has used.
  const ahead = each(ROUND, () => regs(4, f32(0)))
  const setAhead = (i: number, part: i32): void => {
    loadPart(part).forEach((value, n) => {
      ahead[i]![n] = value
    })
  }
  for (const i of unroll(ROUND)) setAhead(i, i32(i))
  const ownSums = regs(4, f32(0))
  const setSums = (part: i32): void => {
    loadSums(part).forEach((value, n) => {
      ownSums[n] = value
    })
  }
  setSums(laneIdx)
  const [sums, all] = [noColumns(), noColumns()]
  while (begin < item.parts) {
    const isPart = begin + laneIdx < Math.min(end, item.parts)
    const [given, total, offset, step] = ownSums
    const reference = isPart ? given! : f32(NO_REFERENCE)
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
    const valueFactor = step! > 0 ? factor * step! : factor
    for (const i of unroll(ROUND)) {
      const of = (value: f32): f32 => shuffle(value, i)
      const part = { values: ahead[i]!, total: of(total!), offset: of(offset!) }
      addColumns(sums, part, { keep: of(keep), factor: of(factor), valueFactor: of(valueFactor) })
      setAhead(i, end + i)
    }
    setSums(end + laneIdx)
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
