import {
  arriveExpecting,
  type Barriers,
  barriers,
  commitCopies,
  copyAsync,
  copyBulk,
  type f16,
  fenceBarrierInit,
  gridDim,
  type In,
  i32,
  idiv,
  initBarrier,
  laneIdx,
  range,
  type Shared,
  shared,
  syncWarp,
  target,
  u32,
  unroll,
  waitBarrier,
  waitCopies,
  warpIdx,
} from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { KEYS } from '../formats/kv-pages.ts'
import type { DecodeConfig, DecodeShape } from './decode-shape.ts'
import { loadPages, ROUND_UNITS, type Rounds } from './rounds.ts'

/** The cache and the work list. */
export interface CopySource {
  readonly kv: In<number, 'Pages Hkv 2 PB'>
  readonly kvParams?: In<f16, 'Pages Hkv 2 64 2'>
  readonly rounds: Rounds
}

/**
 * The granules of all warps. Each warp has a ring of its own, which it fills itself: when it has read a granule, the copy
 * of a later one starts in its place. So copies run ahead over the units of later rounds, without a warp that produces.
 */
export interface Granules {
  /** [warp, slot, element] */
  readonly data: Shared<number>
  /** Beside keys the parameters of keys and of values: [warp, slot, block, twice the token]. */
  readonly params: Shared<f16> | undefined
  readonly full: Barriers | undefined
}

/** Whether granules come through the copy engine, or else by `cp.async`. */
export const hasEngine = (): boolean => target.capability >= 90

export function makeGranules(c: DecodeConfig, d: DecodeShape): Granules {
  return {
    data: shared<number>(c.kvElement, [ROUND_UNITS, c.slots, d.granuleElements]),
    params: c.kvParams ? shared<f16>('f16', [ROUND_UNITS, c.slots, 2, c.granule * 2]) : undefined,
    full: hasEngine() ? barriers(ROUND_UNITS * c.slots) : undefined,
  }
}

/** By one thread; a barrier of the CTA must follow. */
export function initGranules(c: DecodeConfig, { full }: Granules): void {
  if (full === undefined) return
  for (const i of unroll(ROUND_UNITS * c.slots)) initBarrier(full, i, 1)
  fenceBarrierInit()
}

/** What a warp copies next, and the granule that it reads next. */
export interface Stream {
  /** Turns of all CTAs. */
  readonly turns: i32
  /** Rounds of a pass. */
  readonly rounds: i32
  /** The turn whose unit is being copied, and its key/value head. */
  turn: i32
  head: i32
  /** Its pages, and those of the turn after it, which are read long before they are needed. */
  page: i32[]
  live: i32
  nextPage: i32[]
  nextLive: i32
  nextHead: i32
  /** The next granule: 0 for keys or 1 for values, and which of the unit. */
  block: i32
  granule: i32
  /** The slot to read, and the parity of its phase. */
  slot: i32
  parity: i32
}

/** A turn's place: turns go through key/value heads, then rounds, then passes. */
export function placeOf(d: DecodeShape, c: DecodeConfig, rounds: i32, turn: i32) {
  // Turns are not negative, which the compiler does not know of a register.
  const index = i32(idiv(u32(turn), u32(c.Hkv)))
  const pass = d.passes === 1 ? 0 : idiv(index, rounds)
  return { head: turn - index * c.Hkv, pass, round: d.passes === 1 ? index : index - pass * rounds }
}

/** The live tokens of a warp's unit of a turn; none where the sequence has no rows in the turn's pass. */
export const liveIn = (d: DecodeShape, pass: i32, live: i32, count: i32): i32 =>
  d.passes === 1 || pass * d.rows < count * d.group ? live : 0

/** Starts the copies of as many granules as a warp has slots. */
export function startStream(
  a: CopySource,
  c: DecodeConfig,
  d: DecodeShape,
  g: Granules,
  o: { readonly turns: i32; readonly rounds: i32; readonly first: i32 },
): Stream {
  const s: Stream = {
    turns: o.turns,
    rounds: o.rounds,
    turn: o.first - gridDim.x,
    head: i32(0),
    nextHead: i32(0),
    page: [i32(0), i32(0)],
    live: i32(0),
    nextPage: [i32(0), i32(0)],
    nextLive: i32(0),
    block: i32(1),
    granule: i32(d.granules),
    slot: i32(0),
    parity: i32(0),
  }
  readAhead(a, c, d, s)
  for (const slot of range(c.slots)) copyNext(a, c, d, g, s, slot)
  return s
}

/** Reads where the unit after the stream's is. */
function readAhead(a: CopySource, c: DecodeConfig, d: DecodeShape, s: Stream): void {
  const turn = s.turn + gridDim.x
  s.nextLive = 0
  if (turn < s.turns) {
    const { head, pass, round } = placeOf(d, c, s.rounds, turn)
    s.nextHead = head
    const { live, pages, count } = loadPages(a.rounds, round, warpIdx)
    s.nextLive = liveIn(d, pass, live, count)
    s.nextPage[0] = pages[0]
    s.nextPage[1] = pages[1]
  }
}

/** The first live granule of a unit, and the end. */
export const granulesOf = (c: DecodeConfig, live: i32) => ({
  from: (live & 0xffff) >>> Math.log2(c.granule),
  end: ((live >>> 16) + (c.granule - 1)) >>> Math.log2(c.granule),
})

/** Starts the copy of the stream's next granule, if there is one, into a slot that nobody reads any more. */
function copyNext(a: CopySource, c: DecodeConfig, d: DecodeShape, g: Granules, s: Stream, slot: i32): void {
  if (s.granule >= granulesOf(c, s.live).end) {
    if (s.block === 0) s.block = 1
    else {
      // The next turn in which this warp has a unit.
      s.live = 0
      while (s.live === 0 && s.turn < s.turns) {
        s.turn += gridDim.x
        s.live = s.nextLive
        s.head = s.nextHead
        s.page[0] = s.nextPage[0]!
        s.page[1] = s.nextPage[1]!
        readAhead(a, c, d, s)
      }
      s.block = 0
    }
    s.granule = granulesOf(c, s.live).from
  }
  if (s.turn < s.turns) {
    const perPage = PAGE_TOKENS / c.granule
    const page = s.granule < perPage ? s.page[0]! : s.page[1]!
    const token = perPage === 1 ? 0 : (s.granule & (perPage - 1)) * c.granule
    copyGranule(a, c, d, g, slot, [page, s.head, s.block, token])
    s.granule += 1
  }
  if (g.full === undefined) commitCopies()
}

type Place = readonly [page: i32, head: i32, block: i32, token: i32]

function copyGranule(
  a: CopySource,
  c: DecodeConfig,
  d: DecodeShape,
  g: Granules,
  slot: i32,
  [page, head, block, token]: Place,
): void {
  const first = token * (d.granuleElements / c.granule)
  const paramBytes = c.granule * 4
  if (g.full !== undefined) {
    if (laneIdx === 0) {
      const { full, params } = g
      const at = warpIdx * c.slots + slot
      const withParams = params !== undefined && block === KEYS
      arriveExpecting(full, at, d.granuleBytes + (withParams ? i32(2 * paramBytes) : 0))
      copyBulk(g.data, [warpIdx, slot, 0], a.kv, [page, head, block, first], d.granuleBytes, full, at)
      if (params !== undefined) {
        // Where parameters begin is static, for the copy engine takes multiples of 16 bytes only.
        for (const first of unroll(0, PAGE_TOKENS, c.granule)) {
          if (block === KEYS && token === first) {
            // Of a whole page both blocks' parameters are neighbours.
            const copies = c.granule === PAGE_TOKENS ? 1 : 2
            for (const of of unroll(copies)) {
              const from = [page, head, of, first, 0]
              const bytes = (2 / copies) * paramBytes
              copyBulk(params, [warpIdx, slot, of, 0], a.kvParams!, from, bytes, full, at)
            }
          }
        }
      }
    }
    return
  }
  const width = (16 * d.granuleElements) / d.granuleBytes
  for (const turn of unroll(d.granuleBytes / 512)) {
    const element = (laneIdx + 32 * turn) * width
    copyAsync(g.data, [warpIdx, slot, element], a.kv, [page, head, block, first + element], 16)
  }
  if (g.params !== undefined) {
    if (block === KEYS) {
      for (const turn of unroll(c.granule / 16)) {
        const word = laneIdx + 32 * turn
        const of = idiv(word, c.granule)
        const inBlock = word - of * c.granule
        const from = [page, head, of, token + inBlock, 0]
        copyAsync(g.params, [warpIdx, slot, of, 2 * inBlock], a.kvParams!, from, 4)
      }
    }
  }
}

/** Waits for the granule to read next. */
export function waitGranule(c: DecodeConfig, g: Granules, s: Stream): void {
  if (g.full !== undefined) waitBarrier(g.full, warpIdx * c.slots + s.slot, s.parity)
  else {
    waitCopies(c.slots - 1)
    syncWarp()
  }
}

/** Gives the granule's place to the next copy, and moves on. */
export function leaveGranule(a: CopySource, c: DecodeConfig, d: DecodeShape, g: Granules, s: Stream): void {
  syncWarp()
  copyNext(a, c, d, g, s, s.slot)
  const wraps = s.slot === c.slots - 1
  s.slot = wraps ? 0 : s.slot + 1
  s.parity = wraps ? 1 - s.parity : s.parity
}
