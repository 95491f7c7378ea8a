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
import { ALL_ROWS, ROW, TURN } from './decode-memory.ts'
import { placeOfRow, type TurnRows } from './decode-queries.ts'
import { WARPS } from './decode-shape.ts'
import { clearPart, isMissing, type Outputs, partialRow, partValue } from './decode-sums.ts'
import { type Item, loadItem, SPLIT_BITS, SPLIT_UNITS, UNIT_BITS } from './items.ts'

/** Parts of a chunk, which are added up one after the other: no split has more. */
const CHUNK = SPLIT_UNITS

/** Parts of a chunk that are looked at together. */
const FEW = 4

/** Words of parts that a lane has under way at once, for each word of a chunk. */
const AHEAD = 4

/** Adds up the parts that `giveClaimed` gives. By the warps that compute. */
export function mergeClaimed(o: Outputs, items: i32): void {
  const { a, c, d, m } = o
  meet()
  let turn = m.merged.at(TURN)
  while (turn !== 0) {
    const { head, pass } = placeOf(a, c, d, items, turn - 1)
    const rows = { head, pass, item: loadItem(m.claimed, i32(0)) }
    const row = m.merged.at(ROW)
    if (row === ALL_ROWS) mergeParts(o, rows)
    else mergeRow(o, rows, row)
    meet()
    if (row !== ALL_ROWS) clearSums(o, rows, row)
    meet()
    turn = m.merged.at(TURN)
  }
}

/** Adds up all parts of a sequence in order, and gives out its rows, each by a warp, four columns a lane. */
function mergeParts(o: Outputs, rows: TurnRows): void {
  const { c } = o
  const mergeOwn = (row: i32): void => {
    const place = placeOfRow(o, rows, row)
    if (place.isLive) {
      for (const turn of unroll(ceilDiv(c.D, 128)))
        mergeColumns(o, rows, row, place, {
          width: 4,
          own: 32 * turn + laneIdx,
          clears: 32 * turn + 32 >= c.D / 4,
        })
    }
  }
  // Of a loop that is gone through once the compiler would keep what does not change in it.
  if (c.rows > WARPS) for (const row of range(warpIdx, c.rows, WARPS)) mergeOwn(row)
  else if (warpIdx < c.rows) mergeOwn(warpIdx)
}

/** The same for a row, by all warps that compute: a column a lane, and as many parts under way. */
function mergeRow(o: Outputs, rows: TurnRows, row: i32): void {
  const { c } = o
  const place = placeOfRow(o, rows, row)
  if (place.isLive) {
    for (const turn of unroll(ceilDiv(c.D, 32 * WARPS))) {
      const first = 32 * (WARPS * turn + warpIdx)
      if (first < c.D) mergeColumns(o, rows, row, place, { width: 1, own: first + laneIdx, clears: false })
    }
  }
}

/** Leaves the sums of a row's parts as they were before, when all warps have read them. */
function clearSums(o: Outputs, rows: TurnRows, row: i32): void {
  const { c } = o
  const { item } = rows
  if (placeOfRow(o, rows, row).isLive) {
    for (const part of range(32 * warpIdx + laneIdx, item.parts, 32 * WARPS))
      clearPart(o, [item.firstSlot + part, partialRow(o, rows, row), c.D], 4)
  }
}

/** What a lane adds up of a row: `width` columns, from `width * own` on; and whether it leaves its parts' sums missing. */
interface Share {
  readonly width: 1 | 4
  readonly own: i32
  readonly clears: boolean
}

/**
 * Adds up columns of a row in each lane. Chunks of parts are gone through in order: where splits are cut, a chunk has the parts of
 * one, and its sums are added to those of the splits before; otherwise it has eight splits. What a part and the sums before it are
 * multiplied by follows from the parts' references alone: each lane finds it for one of them. Words that are still missing are
 * read again, and what has been read is made missing.
 */
function mergeColumns(
  o: Outputs,
  rows: TurnRows,
  row: i32,
  place: { readonly token: i32; readonly column: i32 },
  { width, own, clears }: Share,
): void {
  const { a, c } = o
  const { item } = rows
  const from = partialRow(o, rows, row)
  const column = width * Math.min(own, c.D / width - 1)
  const loadWordsAt = (part: i32, at: i32, words: number) =>
    load(a.partials, [item.firstSlot + part, from, at], words, { cache: 'relaxed' })

  const isCut = item.run < SPLIT_UNITS
  const length = isCut ? 1 + SPLIT_UNITS - item.run : CHUNK
  const chunks = AHEAD / width
  // Chunks of a round, whose values are under way at once: the first begins and ends here.
  let begin: i32 = 0
  let end = isCut ? firstParts(item) : CHUNK
  const beginOf = (k: number): i32 => (k === 0 ? begin : end + (k - 1) * length)
  const endOf = (k: number): i32 => end + k * length
  // What a round needs is under way before the one before it has been added up.
  const ahead = each(chunks * CHUNK, () => regs(width, u32(0)))
  const setAhead = (k: number, those: readonly number[], first: i32): void =>
    eachPart(those, first, item.parts, (part, i) => {
      loadWordsAt(part, column, width).forEach((word, n) => {
        ahead[k * CHUNK + i]![n] = word
      })
    })
  for (const k of unroll(chunks))
    for (const few of unroll(CHUNK / FEW))
      if ((k === 0 && few === 0) || beginOf(k) + few * FEW < item.parts) setAhead(k, fewOf(few), beginOf(k))
  const ownSums = regs(4, u32(0))
  const setSums = (part: i32): void => {
    loadWordsAt(Math.min(part, item.parts - 1), i32(c.D), 4).forEach((word, n) => {
      ownSums[n] = word
    })
  }
  // A lane's part: a lane of each chunk's eight.
  const chunk = laneIdx >>> Math.log2(CHUNK)
  const inChunk = laneIdx & (CHUNK - 1)
  const partOf = (first: i32, behind: i32): i32 =>
    (chunk === 0 ? first : behind + (chunk - 1) * length) + inChunk
  setSums(partOf(begin, end))
  const [sums, all] = [noColumns(width), noColumns(width)]
  while (begin < item.parts) {
    const part = partOf(begin, end)
    const isPart = chunk < chunks && part < Math.min(end + chunk * length, item.parts)
    while (voteAny(isPart && isMissing(ownSums))) setSums(part)
    const [given, step] = [partValue(ownSums[0]!), partValue(ownSums[3]!)]
    const [total, offset] = [1, 2].map((i) => (isPart ? partValue(ownSums[i]!) : f32(0)))
    const reference = isPart ? given : f32(NO_REFERENCE)
    // The largest reference up to each part, and up to the one before it: of its split where splits are cut.
    const isFirst = inChunk === 0 && (isCut || chunk === 0)
    const before = chunk === 0 ? sums.reference : f32(NO_REFERENCE)
    let largest = Math.max(before, reference)
    for (const bits of unroll(Math.log2(chunks * CHUNK))) {
      const lower = shuffleUp(largest, 2 ** bits)
      const reaches = isCut ? inChunk >= 2 ** bits : laneIdx >= 2 ** bits
      largest = reaches ? Math.max(largest, lower) : largest
    }
    const below = shuffleUp(largest, 1)
    const change = rescale(isFirst ? before : below, reference)
    const { keep } = change
    const factor = isPart ? change.factor : 0
    // A unit's values count in units of its step.
    const valueFactor = step > 0 ? factor * step : factor
    if (isPart && clears) clearPart(o, [item.firstSlot + part, from, c.D], 4)
    const nextBegin = endOf(chunks - 1)
    if (nextBegin < item.parts) setSums(partOf(nextBegin, nextBegin + length))
    for (const k of unroll(chunks)) {
      const [first, last] = [beginOf(k), Math.min(endOf(k), item.parts)]
      for (const few of unroll(CHUNK / FEW)) {
        const those = fewOf(few)
        if (first + few * FEW < last) {
          while (voteAny(those.map((i) => isMissing(ahead[k * CHUNK + i]!)).reduce((x, y) => x || y)))
            setAhead(k, those, first)
          for (const i of those) {
            const of = (value: f32): f32 => shuffle(value, k * CHUNK + i)
            const values = ahead[k * CHUNK + i]!.map(partValue)
            const part = { values, total: of(total!), offset: of(offset!) }
            addColumns(sums, part, { keep: of(keep), factor: of(factor), valueFactor: of(valueFactor) })
          }
          // Past the last part, and past the last column, that one again: of conditions the compiler would make more addresses.
          eachPart(those, first, last, (part) => clearPart(o, [item.firstSlot + part, from, column], width))
        }
        const next = nextBegin + k * length + few * FEW
        if (next < item.parts) setAhead(k, those, nextBegin + k * length)
      }
      sums.reference = shuffle(largest, k * CHUNK + CHUNK - 1)
      if (first < last && (isCut || last >= item.parts)) {
        const last = rescale(all.reference, sums.reference)
        addColumns(all, sums, { ...last, valueFactor: last.factor })
        all.reference = last.reference
        // What the next split begins with is multiplied by 0.
        sums.reference = NO_REFERENCE
      }
    }
    begin = nextBegin
    end = nextBegin + length
  }
  const share = 1 / all.total
  if (own < c.D / width) {
    store(
      a.out,
      [place.token, place.column + column],
      all.values.map((sum) => to(c.dtype, (sum + all.offset) * share)),
    )
  }
}

const fewOf = (few: number): number[] => each(FEW, (i) => few * FEW + i)

/** Parts of a chunk; past the last part that one again. Where there are all of them, their places are a constant apart. */
function eachPart(
  those: readonly number[],
  first: i32,
  end: i32,
  body: (part: i32, i: number) => void,
): void {
  if (first + CHUNK <= end) for (const i of those) body(first + i, i)
  else for (const i of those) body(Math.min(first + i, end - 1), i)
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

const noColumns = (width: number): ColumnSums => ({
  reference: f32(NO_REFERENCE),
  values: regs(width, f32(0)),
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
  for (const n of unroll(part.values.length))
    sums.values[n] = fma(part.values[n]!, valueFactor, sums.values[n]! * keep)
}
