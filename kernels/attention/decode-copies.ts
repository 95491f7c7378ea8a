import {
  arriveExpecting,
  type Barriers,
  barriers,
  blockIdx,
  commitCopies,
  copyAsync,
  copyBulk,
  each,
  type f16,
  fenceBarrierInit,
  gridDim,
  type In,
  i32,
  idiv,
  initBarrier,
  laneIdx,
  launchDependents,
  range,
  type Shared,
  shared,
  syncWarp,
  target,
  u32,
  unroll,
  waitBarrier,
  waitCopies,
  waitForPrevious,
} from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { KEYS, VALUES } from '../formats/kv-pages.ts'
import { UNIT } from './arithmetic.ts'
import { type DecodeConfig, type DecodeShape, PAGE_PARAM_BYTES } from './decode-shape.ts'
import { type ItemExtent, type Items, liveOf, loadItem } from './items.ts'

/** The cache and the work list. */
export interface CopySource {
  readonly kv: In<number, 'Pages Hkv 2 PB'>
  readonly kvParams?: In<f16, 'Pages Hkv 2 64 2'>
  readonly pages: In<i32, 'B MaxPages'>
  readonly items: Items
  /** Whether the launch before is waited for at the end alone. */
  readonly beside: i32
}

/** Pages of a unit. */
const UNIT_PAGES = UNIT / PAGE_TOKENS

/**
 * A ring of blocks: the keys of a unit, its values, the keys of the next, and so on over the ends of items. A block that all
 * warps have left takes the copy of a later one, so that copies run ahead of the products.
 */
export interface Ring {
  /** [slot, page of the unit, element] */
  readonly data: Shared<number>
  /** Parameters of keys and values, which come with the keys: [stage, page of the unit, block, twice the token]. */
  readonly params: Shared<f16> | undefined
  /** Of each slot; only with a copy engine. */
  readonly full: Barriers | undefined
}

/** Whether blocks come through the copy engine, or else by `cp.async`. */
export const hasEngine = (): boolean => target.capability >= 90

/** Waits for the launch before, unless it is to run beside it, and lets the next one begin. */
export function overlap({ beside }: CopySource): void {
  if (!hasEngine()) return
  if (beside === 0) waitForPrevious()
  launchDependents()
}

export function makeBlockRing(c: DecodeConfig, d: DecodeShape): Ring {
  return {
    data: shared<number>(c.kvElement, [c.slots, UNIT_PAGES, d.pageElements]),
    params: c.kvParams ? shared<f16>('f16', [d.stages, UNIT_PAGES, 2, 2 * PAGE_TOKENS]) : undefined,
    full: hasEngine() ? barriers(c.slots) : undefined,
  }
}

/** By one thread; a barrier of the CTA must follow. */
export function initBlockRing(c: DecodeConfig, { full }: Ring): void {
  if (full === undefined) return
  for (const i of unroll(c.slots)) initBarrier(full, i, 1)
  fenceBarrierInit()
}

// ---- turns ----------------------------------------------------------------------------------------------------------

/** Items times key/value heads and passes: what CTAs take in turns. */
export interface Turns {
  readonly count: i32
  /** Turns of a pass over the rows. */
  readonly items: i32
}

/**
 * The turn that a CTA takes at its step `step`. They begin with the longest, so every other step goes backwards: who had the
 * longest gets the shortest next.
 */
export const turnAt = (step: i32): i32 =>
  step * gridDim.x + ((step & 1) === 0 ? i32(blockIdx.x) : gridDim.x - 1 - blockIdx.x)

/**
 * A turn's place: turns go through key/value heads, then items, then passes. Of a turn that there is not it is some place in
 * the list, so that it may be read before it is known how many there are.
 */
export function placeOf({ items: list }: CopySource, c: DecodeConfig, d: DecodeShape, items: i32, turn: i32) {
  // Turns are not negative, which the compiler does not know of a register.
  const index = i32(idiv(u32(turn), u32(c.Hkv)))
  const pass = d.passes === 1 ? i32(0) : i32(idiv(u32(index), u32(items)))
  const item = Math.min(d.passes === 1 ? index : index - pass * items, list.dim('Items') - 1)
  return { head: turn - index * c.Hkv, pass, item }
}

/** The units of a turn's item; none where the sequence has no rows in the turn's pass. */
export const unitsIn = (c: DecodeConfig, d: DecodeShape, pass: i32, { units, count }: ItemExtent): i32 =>
  d.passes === 1 || pass * c.rows < count * d.group ? units : 0

// ---- copying --------------------------------------------------------------------------------------------------------

/** What is copied next. */
export interface Stream {
  /** Items and turns. */
  readonly items: i32
  readonly turns: i32
  /** The step of `ahead`, which has been looked up before it is needed. */
  step: i32
  ahead: Place & { units: i32 }
  /** The unit at hand, and those of its item that are left behind it. */
  now: Place
  left: i32
  isDone: i32
  /** The next unit's pages, if it is of the same item. */
  next: i32[]
  /** The next block: `KEYS`, or `VALUES`; its slot, and the stage of its parameters. */
  block: i32
  slot: i32
  stage: i32
}

/** A unit to copy. */
interface Place {
  head: i32
  sequence: i32
  unit: i32
  /** Tokens of the sequence that are seen. */
  from: i32
  end: i32
  /** Tokens that were there before the step: the launch before may store the others. */
  old: i32
  page: i32[]
}

const noPlace = (): Place => ({
  ...{ head: i32(0), sequence: i32(0), unit: i32(0), from: i32(0), end: i32(0), old: i32(0) },
  page: [i32(0), i32(0)],
})

function makeStream(a: CopySource, c: DecodeConfig, d: DecodeShape, items: i32): Stream {
  const s: Stream = {
    items,
    turns: items * (c.Hkv * d.passes),
    step: i32(-1),
    ahead: { ...noPlace(), units: i32(0) },
    now: noPlace(),
    left: i32(0),
    isDone: i32(0),
    next: [i32(0), i32(0)],
    block: i32(KEYS),
    slot: i32(0),
    stage: i32(0),
  }
  lookAhead(a, c, d, s)
  enterItem(a, c, d, s)
  return s
}

/** Starts the copies of as many blocks as there are slots but one. By one warp. */
export function startCopies(a: CopySource, c: DecodeConfig, d: DecodeShape, ring: Ring, items: i32): Stream {
  const s = makeStream(a, c, d, items)
  for (const _ of unroll(c.slots - 1)) {
    if (c.ahead && hasEngine() && a.beside === 0 && (s.now.unit + 1) * UNIT > s.now.old) waitForPrevious()
    copyBlock(a, c, d, ring, s)
  }
  if (c.ahead) overlap(a)
  return s
}

/** Reads what the step after the stream's has. */
function lookAhead(a: CopySource, c: DecodeConfig, d: DecodeShape, s: Stream): void {
  s.step = s.step + 1
  const turn = turnAt(s.step)
  const { head, pass, item } = placeOf(a, c, d, s.items, turn)
  const { ahead } = s
  const next = loadItem(a.items, item)
  ahead.units = turn < s.turns ? unitsIn(c, d, pass, next) : 0
  ahead.head = head
  ahead.sequence = next.sequence
  ahead.unit = next.unit
  ahead.from = next.from
  ahead.end = next.end
  ahead.old = next.end - next.count
  for (const i of unroll(UNIT_PAGES)) ahead.page[i] = next.pages[i]!
}

/** Goes on to the next item that has units, if there is one. */
function enterItem(a: CopySource, c: DecodeConfig, d: DecodeShape, s: Stream): void {
  if (d.passes > 1) while (s.ahead.units === 0 && s.step * gridDim.x < s.turns) lookAhead(a, c, d, s)
  const { ahead, now } = s
  now.head = ahead.head
  now.sequence = ahead.sequence
  now.unit = ahead.unit
  now.from = ahead.from
  now.end = ahead.end
  now.old = ahead.old
  for (const i of unroll(UNIT_PAGES)) now.page[i] = ahead.page[i]!
  s.left = ahead.units - 1
  s.isDone = i32(ahead.units === 0)
  loadNext(a, s)
  lookAhead(a, c, d, s)
}

/** Goes on to the next unit. */
function enterUnit(a: CopySource, c: DecodeConfig, d: DecodeShape, s: Stream): void {
  if (s.left === 0) enterItem(a, c, d, s)
  else {
    s.left = s.left - 1
    s.now.unit = s.now.unit + 1
    for (const i of unroll(UNIT_PAGES)) s.now.page[i] = s.next[i]!
    loadNext(a, s)
  }
}

/** Reads the pages of the unit behind the one at hand, long before they are needed. */
function loadNext(a: CopySource, s: Stream): void {
  for (const i of unroll(UNIT_PAGES)) {
    // A page past the last may be past the table, too; it is not copied.
    const page = Math.min((s.now.unit + 1) * UNIT_PAGES + i, a.pages.dim('MaxPages') - 1)
    s.next[i] = a.pages.at(s.now.sequence, page)
  }
}

/**
 * Starts the copies of more blocks, when the warps have left the keys of a unit and so the values of the one before: of two,
 * or of one where the unit is one block. At the first unit there were no values, but for their place.
 */
export function copyMore(
  a: CopySource,
  c: DecodeConfig,
  d: DecodeShape,
  ring: Ring,
  s: Stream,
  isOneBlock: boolean,
): void {
  copyBlock(a, c, d, ring, s)
  if (!isOneBlock) copyBlock(a, c, d, ring, s)
}

/**
 * Whether a unit's keys and values are one block, as where they have a page each: they are then the pages of a slot, so that
 * as much is under way as elsewhere.
 */
export const isOneBlock = (extent: { readonly from: i32; readonly end: i32 }, unit: i32): boolean =>
  hasEngine() && liveOf(extent, unit).end <= PAGE_TOKENS

/** Starts the copy of the stream's next block, if there is one, into the next slot, which nobody reads any more. */
function copyBlock(a: CopySource, c: DecodeConfig, d: DecodeShape, ring: Ring, s: Stream): void {
  if (s.isDone === 0) {
    const isOne = isOneBlock(s.now, s.now.unit)
    if (ring.full === undefined) copyPagesAsync(a, d, ring, s)
    else if (laneIdx === 0) copyPages(a, d, ring, s, isOne)
    s.slot = s.slot === c.slots - 1 ? 0 : s.slot + 1
    if (isOne || s.block === VALUES) {
      s.block = KEYS
      s.stage = s.stage === d.stages - 1 ? 0 : s.stage + 1
      enterUnit(a, c, d, s)
    } else s.block = VALUES
  }
  if (ring.full === undefined) commitCopies()
}

/** Whether a page of the unit at hand has tokens that are seen. */
function isSeen({ now }: Stream, page: number): boolean {
  const { from, end } = liveOf(now, now.unit)
  return from < (page + 1) * PAGE_TOKENS && end > page * PAGE_TOKENS
}

/** The pages of a slot: two of the unit's keys or values, or the only page's keys and values. */
function copyPages(
  a: CopySource,
  d: DecodeShape,
  { data, params, full }: Ring,
  s: Stream,
  isOne: boolean,
): void {
  const { now, slot, stage } = s
  const isFilled = each(UNIT_PAGES, (page) => isOne || isSeen(s, page))
  const hasParams = each(UNIT_PAGES, (page) => isFilled[page]! && s.block === KEYS && !(isOne && page > 0))
  const count = (pages: readonly boolean[]): i32 => pages.map((has) => i32(has)).reduce((x, y) => x + y)
  const paramBytes = params === undefined ? i32(0) : count(hasParams) * PAGE_PARAM_BYTES
  arriveExpecting(full!, slot, count(isFilled) * d.pageBytes + paramBytes)
  for (const page of unroll(UNIT_PAGES)) {
    if (isFilled[page]!) {
      const [from, block] = [isOne ? now.page[0]! : now.page[page]!, isOne ? i32(page) : s.block]
      copyBulk(data, [slot, page, 0], a.kv, [from, now.head, block, 0], d.pageBytes, full!, slot, {
        evict: 'first',
      })
      if (params !== undefined) {
        if (hasParams[page]!) {
          const source = [from, now.head, KEYS, 0, 0]
          copyBulk(params, [stage, page, KEYS, 0], a.kvParams!, source, PAGE_PARAM_BYTES, full!, slot, {
            evict: 'first',
          })
        }
      }
    }
  }
}

/** The same by all lanes, without a copy engine. */
function copyPagesAsync(a: CopySource, d: DecodeShape, ring: Ring, s: Stream): void {
  const { block } = s
  const chunks = d.pageBytes / 16
  const width = d.pageElements / chunks
  for (const page of unroll(UNIT_PAGES)) {
    if (isSeen(s, page)) {
      const from = s.now.page[page]!
      for (const chunk of range(laneIdx, chunks, 32)) {
        const element = chunk * width
        copyAsync(ring.data, [s.slot, page, element], a.kv, [from, s.now.head, block, element], 16)
      }
      if (ring.params !== undefined && block === KEYS) {
        for (const word of range(laneIdx, 2 * PAGE_TOKENS, 32)) {
          const [of, token] = [word >>> Math.log2(PAGE_TOKENS), word & (PAGE_TOKENS - 1)]
          copyAsync(
            ring.params,
            [s.stage, page, of, 2 * token],
            a.kvParams!,
            [from, s.now.head, of, token, 0],
            4,
          )
        }
      }
    }
  }
}

// ---- reading --------------------------------------------------------------------------------------------------------

/** The block to read next. */
export interface Cursor {
  slot: i32
  parity: i32
  stage: i32
}

export const firstBlock = (): Cursor => ({ slot: i32(0), parity: i32(0), stage: i32(0) })

/** Waits until the copy engine has filled the block. */
export function waitBlock({ full }: Ring, at: Cursor): void {
  if (full !== undefined) waitBarrier(full, at.slot, at.parity)
}

/** The copying warp, without a copy engine: waits for the keys that are read next. A barrier must follow. */
export function waitOwnCopies(c: DecodeConfig, { full }: Ring): void {
  if (full === undefined) {
    waitCopies(c.slots - 2)
    syncWarp()
  }
}

/** Moves on to the next block; `block` is the one that is left. */
export function nextBlock(c: DecodeConfig, d: DecodeShape, at: Cursor, block: number): void {
  const wraps = at.slot === c.slots - 1
  if (block === VALUES) at.stage = at.stage === d.stages - 1 ? 0 : at.stage + 1
  at.slot = wraps ? 0 : at.slot + 1
  at.parity = wraps ? 1 - at.parity : at.parity
}
