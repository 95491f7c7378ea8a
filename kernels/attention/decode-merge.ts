import {
  ballot,
  each,
  f32,
  fma,
  i32,
  laneIdx,
  leadingZeros,
  load,
  range,
  regs,
  shuffle,
  shuffleUp,
  store,
  threadFence,
  to,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { NO_REFERENCE, rescale } from './arithmetic.ts'
import { placeOfRow, type TurnRows } from './decode-queries.ts'
import { WARPS } from './decode-shape.ts'
import { type Outputs, partialRow } from './decode-sums.ts'
import type { Item } from './items.ts'

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

/**
 * Adds up four columns of a row in each lane, from column `4 * quad` on. Parts of a split are added up in `open`, and that
 * to the splits before when the next one begins.
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
  const loadPart = (part: i32): readonly f32[] => {
    const slot = item.firstSlot + Math.min(part, item.parts - 1)
    return load(a.partials, [slot, row, column], 4, { cache: 'cg' })
  }
  // As many parts are under way as are not needed yet: each takes the place of one that has been added.
  const ahead = each(TOGETHER, (i) => Array.from(loadPart(i32(i))))
  const [open, closed] = [noColumns(), noColumns()]
  const at = noReferences()
  for (const begin of range(0, item.parts, 32)) {
    const part = begin + laneIdx
    const slot = item.firstSlot + Math.min(part, item.parts - 1)
    const [given, total, offset, step] = load(a.partials, [slot, row, c.D], 4, { cache: 'cg' })
    const isPart = part < item.parts
    const beginning = ballot(isPart && step! === 0)
    const { keep, factor, valueFactor } = rescaleParts(
      at,
      isPart ? given! : f32(NO_REFERENCE),
      step!,
      beginning,
    )
    for (const first of range(0, Math.min(item.parts - begin, 32), TOGETHER)) {
      ahead.forEach((values, i) => {
        const of = (value: f32): f32 => shuffle(value, first + i)
        const change = { keep: of(keep), factor: of(factor), valueFactor: of(valueFactor) }
        const theirs = { values, total: of(total!), offset: of(offset!) }
        if (((beginning >>> (first + i)) & 1) !== 0) {
          addColumns(closed, open, change)
          setColumns(open, theirs)
        } else addColumns(open, theirs, change)
        const next = loadPart(begin + first + (TOGETHER + i))
        for (const n of unroll(4)) values[n] = next[n]!
      })
    }
  }
  const last = rescale(at.closed, at.open)
  addColumns(closed, open, { ...last, valueFactor: last.factor })
  const share = 1 / closed.total
  if (own < c.D / 4) {
    store(
      a.out,
      [place.token, place.column + column],
      closed.values.map((sum) => to(c.dtype, (sum + closed.offset) * share)),
    )
  }
}

/** Four columns of a row, or of a part of it, and its sums of probabilities. */
interface Columns {
  readonly values: f32[]
  total: f32
  offset: f32
}

const noColumns = (): Columns => ({ values: regs(4, f32(0)), total: f32(0), offset: f32(0) })

function setColumns(sums: Columns, part: Columns): void {
  for (const n of unroll(4)) sums.values[n] = part.values[n]!
  sums.total = part.total
  sums.offset = part.offset
}

function addColumns(sums: Columns, part: Columns, { keep, factor, valueFactor }: Change): void {
  sums.total = fma(part.total, factor, sums.total * keep)
  sums.offset = fma(part.offset, factor, sums.offset * keep)
  for (const n of unroll(4)) sums.values[n] = fma(part.values[n]!, valueFactor, sums.values[n]! * keep)
}

// ---- what parts are multiplied by -----------------------------------------------------------------------------------

/** What sums are multiplied by, and the part that is added to them; its values count in units of their step. */
interface Change {
  readonly keep: f32
  readonly factor: f32
  readonly valueFactor: f32
}

/** The largest references so far: of all parts, of those of the open split, and of the splits before it. */
interface References {
  all: f32
  open: f32
  closed: f32
}

const noReferences = (): References => ({
  all: f32(NO_REFERENCE),
  open: f32(NO_REFERENCE),
  closed: f32(NO_REFERENCE),
})

/**
 * Of 32 parts, each lane's with its reference, what happens when they are added one after the other. A bit of `beginning` says
 * of a part that it begins a split: the change is then that of adding the open split to those before. `reference` is
 * `NO_REFERENCE` past the last part.
 */
function rescaleParts(at: References, reference: f32, step: f32, beginning: u32): Change {
  const lastBit = (bits: u32): i32 => 31 - leadingZeros(bits)
  const before = beginning & ((u32(1) << laneIdx) - 1)
  const begins = ((beginning >>> laneIdx) & 1) !== 0
  const from = Math.max(begins ? i32(laneIdx) : lastBit(before), 0)
  // Up to each part, of all and of those of its split.
  let all = Math.max(at.all, reference)
  let open: f32 = reference
  for (const bits of unroll(5)) {
    const [lowerAll, lowerOpen] = [shuffleUp(all, 2 ** bits), shuffleUp(open, 2 ** bits)]
    all = laneIdx >= 2 ** bits ? Math.max(all, lowerAll) : all
    open = laneIdx - 2 ** bits >= from ? Math.max(open, lowerOpen) : open
  }
  if (before === 0 && !begins) open = Math.max(open, at.open)
  const [belowAll, belowOpen] = [shuffleUp(all, 1), shuffleUp(open, 1)]
  const allBefore = laneIdx === 0 ? at.all : belowAll
  const openBefore = laneIdx === 0 ? at.open : belowOpen
  // What was there when the open split began.
  const closedAt = (bits: u32): f32 => {
    const begun = shuffle(allBefore, Math.max(lastBit(bits), 0))
    return bits !== 0 ? begun : at.closed
  }
  const [closed, closedNext] = [closedAt(before), closedAt(beginning)]
  const change = rescale(begins ? closed : openBefore, begins ? openBefore : reference)
  at.closed = closedNext
  at.all = shuffle(all, 31)
  at.open = shuffle(open, 31)
  return {
    keep: change.keep,
    factor: change.factor,
    valueFactor: begins ? change.factor : change.factor * step,
  }
}
