import {
  f32,
  gridDim,
  i32,
  idiv,
  laneIdx,
  range,
  regs,
  u32,
  waitForPrevious,
  warpIdx,
} from '../../dsl/index.ts'
import { claimParts, giveClaimed, giveJoin, noClaims } from './decode-claims.ts'
import {
  firstBlock,
  hasEngine,
  overlap,
  placeOf,
  startCopies,
  turnAt,
  unitsIn,
  waitOwnCopies,
} from './decode-copies.ts'
import { joinRows, joins, leaveJoined } from './decode-join.ts'
import { type Decode, meet } from './decode-lanes.ts'
import { mergeClaimed } from './decode-merge.ts'
import { loadFirstQuery, prepareQueries, type QueryArguments, queryWords } from './decode-queries.ts'
import { addSplitStrands, clearStrands, giveRowSums, noStrands } from './decode-strands.ts'
import { type Outputs, putPart, putRows, type SumArguments } from './decode-sums.ts'
import {
  addSplitValues,
  assistUnit,
  attendUnit,
  clearValues,
  loadItemQuery,
  noValues,
} from './decode-unit.ts'
import { ITEM_WORDS, type Item, isApart, isFirst, loadItem, SPLIT_UNITS } from './items.ts'

/**
 * The turns of a CTA as its two kinds of warps see them. Both go through the same items and units and meet at the same places.
 */

interface Walk {
  readonly turns: i32
  readonly steps: i32
  placeAt(step: i32): { readonly head: i32; readonly pass: i32; readonly item: i32 }
  /** The rows of a step of which the item has been read. */
  rowsAt(step: i32): {
    readonly head: i32
    readonly pass: i32
    readonly item: ReturnType<typeof loadItem>
  }
}

function walkOf({ a, c, d, m }: Decode, items: i32): Walk {
  const turns = items * (c.Hkv * d.passes)
  const placeAt = (step: i32) => placeOf(a, c, d, items, turnAt(step))
  return {
    turns,
    steps: idiv(turns + gridDim.x - 1, gridDim.x),
    placeAt,
    rowsAt: (step) => ({ ...placeAt(step), item: loadItem(m.items, step & 1) }),
  }
}

/** What a step has to do: of which item, how many units. */
function workAt({ c, d, m }: Decode, { turns, placeAt }: Walk, step: i32) {
  const extent = loadItem(m.items, step & 1)
  const { pass } = placeAt(step)
  return { extent, pass, units: turnAt(step) < turns ? unitsIn(c, d, pass, extent) : 0 }
}

/** Whether a unit is the last of a part: of its split, or of its item. */
const endsPart = (unit: i32, isLast: boolean, isApart: boolean): boolean =>
  (unit & (SPLIT_UNITS - 1)) === SPLIT_UNITS - 1 || isLast || isApart

/** Whether all units of an item are added up: where it is its sequence's first, and where there is one other part. */
const isKept = (o: Decode, item: Item): boolean => isFirst(item) || joins(o, item)

/** The warps that compute. */
export function compute(o: Decode & { readonly a: QueryArguments & SumArguments }, items: i32): void {
  const { a, c, d, m } = o
  const walk = walkOf(o, items)
  // One warp reads items' words a step before they are given, for memory has others to serve first.
  const readsItems = warpIdx === 1 && laneIdx < ITEM_WORDS
  const readWord = (step: i32): i32 => (readsItems ? a.items.at(walk.placeAt(step).item, laneIdx) : 0)
  const giveWord = (step: i32, word: i32): void => {
    if (readsItems) m.items.put(word, step & 1, laneIdx)
  }
  const first = regs(queryWords(c), u32(0))
  const readQuery = (step: i32, item: Item): void => {
    if (turnAt(step) < walk.turns) {
      loadFirstQuery(o, { ...walk.placeAt(step), item }).forEach((word, i) => {
        first[i] = word
      })
    }
  }
  // Ahead of the copies, which memory would have it wait for.
  const { item: index } = walk.placeAt(i32(0))
  const item = loadItem(a.items, index)
  const word = readWord(i32(0))
  let next = readWord(i32(1))
  if (c.ahead) overlap(a)
  readQuery(i32(0), item)
  giveWord(i32(0), word)
  meet()

  const at = firstBlock()
  for (const step of range(walk.steps)) {
    const { extent, pass, units } = workAt(o, walk, step)
    const [sums, total] = [noValues(d), noValues(d)]
    let stored: i32 = 0
    if (units > 0) {
      prepareQueries(o, walk.rowsAt(step), first)
      meet()
      giveWord(step + 1, next)
      next = readWord(step + 2)
      const query = loadItemQuery(o)
      const apart = isApart(extent)
      for (const i of range(units)) {
        const unit = extent.unit + i
        const steps = attendUnit(o, at, query, sums, { extent, pass, unit, isApart: apart })
        if (i === 0) readQuery(step + 1, loadItem(m.items, (step + 1) & 1))
        if (endsPart(unit, i === units - 1, apart)) {
          if (isKept(o, extent)) addSplitValues(total, sums)
          else {
            meet()
            const rows = walk.rowsAt(step)
            const unitSteps = steps.map((step) => (apart ? step : f32(0)))
            putPart(o, rows, rows.item.slot + stored, sums, unitSteps)
            stored = stored + 1
            clearValues(sums)
          }
        }
      }
    } else {
      // The word's place may still be read: it was the item's before.
      meet()
      giveWord(step + 1, next)
      next = readWord(step + 2)
    }
    meet()
    const rows = walk.rowsAt(step)
    if (units === 0) readQuery(step + 1, loadItem(m.items, (step + 1) & 1))
    else if (rows.item.parts === 1) putRows(o, rows, total)
    else if (joins(o, rows.item) && m.joins.at(0) !== 0) {
      joinRows(o, rows, total)
      meet()
      leaveJoined(o, rows)
    } else if (isKept(o, extent)) putPart(o, rows, rows.item.slot, total, regs(d.laneRows, f32(0)))
  }
  mergeClaimed(o, items)
}

/** The warp that copies, and sums probabilities up. */
export function assist(o: Outputs, items: i32): void {
  const { a, c, d, ring } = o
  const stream = startCopies(a, c, d, ring, items)
  const walk = walkOf(o, items)
  waitOwnCopies(c, ring)
  meet()
  const at = firstBlock()
  const claims = noClaims()
  for (const step of range(walk.steps)) {
    const { extent, pass, units } = workAt(o, walk, step)
    meet()
    if (units > 0) {
      const [sums, total] = [noStrands(o), noStrands(o)]
      const apart = isApart(extent)
      for (const i of range(units)) {
        const unit = extent.unit + i
        if (i === 0 || i === units - 1) claimParts(o, claims, items, step, i === 0, i === units - 1)
        assistUnit(o, stream, at, sums, { extent, pass, unit, isApart: apart })
        if (endsPart(unit, i === units - 1, apart)) {
          if (isKept(o, extent)) addSplitStrands(total, sums)
          else {
            giveRowSums(o, sums)
            meet()
            clearStrands(sums)
          }
        }
      }
      if (isKept(o, extent)) giveRowSums(o, total)
      if (joins(o, extent)) giveJoin(o, claims, items, step)
    }
    meet()
    // The others have read what all of them do.
    if (units > 0 && joins(o, extent) && o.m.joins.at(0) !== 0) meet()
  }
  giveClaimed(o, claims, items)
  // Whoever waits for this launch has then waited for the one before.
  if (hasEngine() && a.beside !== 0) waitForPrevious()
}
