import {
  advance,
  arrive,
  arriveExpecting,
  type Cursor,
  copyBulk,
  expectBytes,
  type f16,
  type In,
  i32,
  idiv,
  load,
  producerCursor,
  range,
  regs,
  store,
  unroll,
  waitBarrier,
  waitEmpty,
} from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { KEYS, VALUES } from '../formats/kv-pages.ts'
import { type PrefillMemory, unitPages, WALK_TILES } from './prefill-memory.ts'
import type { PrefillConfig } from './prefill-shape.ts'
import { itemOfTurn, itemsOf, type StepTiles, TILE_WORDS } from './prefill-tiles.ts'

/** The cache as prefill reads it. */
export interface CacheArguments {
  readonly pages: In<i32, 'B MaxPages'>
  readonly kv: In<number, 'Pages Hkv 2 PB'>
  readonly kvParams?: In<f16, 'Pages Hkv 2 64 2'>
}

/** Where the thread that copies is: a stage of the ring, and the pages of its next unit, which may still be on their way. */
export interface CopyWalk {
  readonly at: Cursor
  readonly pages: i32[]
  readonly items: i32
}

/**
 * What else it knows lies in shared memory, as its warpgroup unpacks and has no registers to spare: turn, sequence, key/value head,
 * last page that a query sees, next unit, and the tile's last unit, behind the last tile a lower one.
 */
const [TURN, SEQUENCE, HEAD, PAGE, NEXT, LAST] = [0, 1, 2, 3, 4, 5]

/** Begins to copy, by the thread for which `isCopier` holds: all units that have stages but one. */
export function beginWalk(
  a: StepTiles & CacheArguments,
  c: PrefillConfig,
  m: PrefillMemory,
  isCopier: boolean,
): CopyWalk {
  const walk = { at: producerCursor(), pages: regs(unitPages, i32(0)), items: itemsOf(a, c) }
  if (isCopier) {
    const place = regs(6, i32(0))
    place[TURN] = -1
    fetchTile(a, c, m, walk, i32(0))
    nextTile(a, c, m, walk, place)
    storePlace(m, place)
    for (const _ of range(Math.floor(c.rawStages / 2) - 1)) copyUnit(a, c, m, walk)
  }
  return walk
}

/**
 * Asks for the keys and values of the next unit of all the CTA's tiles, as stages for them come free. Before the first of a tile it
 * leaves the tile in `m.tiles`, and behind the last tile one without tokens.
 */
export function copyUnit(
  a: StepTiles & CacheArguments,
  c: PrefillConfig,
  m: PrefillMemory,
  walk: CopyWalk,
): void {
  const place = regs(6, i32(0))
  ;[...load(m.walk, [0], 4), ...load(m.walk, [4], 2)].forEach((word, i) => {
    place[i] = word
  })
  if (place[NEXT]! <= place[LAST]!) {
    for (const block of [KEYS, VALUES]) {
      const { full } = m.rawRing
      const { stage } = walk.at
      waitEmpty(m.rawRing, walk.at)
      expectBytes(m.rawRing, stage, unitPages * (c.PB + paramBytes))
      for (const i of unroll(unitPages)) {
        const from = [walk.pages[i]!, place[HEAD]!, block, 0]
        copyBulk(m.raw, [stage, i * c.PB], a.kv, from, c.PB, full, stage)
        const params = [stage, 2 * i * PAGE_TOKENS]
        copyBulk(m.rawParams, params, a.kvParams!, [...from, 0], paramBytes, full, stage)
      }
      advance(walk.at, m.rawRing, 1)
    }
    place[NEXT] = place[NEXT]! + 1
    if (place[NEXT]! > place[LAST]!) nextTile(a, c, m, walk, place)
    else findPages(a, walk, place)
    storePlace(m, place)
  }
}

/** Bytes of the parameters of the keys, or the values, of a page and head. */
const paramBytes = PAGE_TOKENS * 4

const storePlace = (m: PrefillMemory, place: readonly i32[]): void => {
  store(m.walk, [0], place.slice(0, 4))
  store(m.walk, [4], place.slice(4))
}

/** Reads which pages the next unit has; behind the last that a query sees, that one stands in. */
function findPages(a: CacheArguments, walk: CopyWalk, place: readonly i32[]): void {
  for (const i of unroll(unitPages))
    walk.pages[i] = a.pages.at(place[SEQUENCE]!, Math.min(place[NEXT]! * unitPages + i, place[PAGE]!))
}

/** Fetches the tile of a turn, if there is one. */
function fetchTile(a: StepTiles, c: PrefillConfig, m: PrefillMemory, walk: CopyWalk, turn: i32): void {
  const item = itemOfTurn(turn)
  if (item < walk.items) {
    arriveExpecting(m.fetched, 0, 4 * TILE_WORDS)
    copyBulk(m.fetchedTile, [0], a.tiles, [idiv(item, c.Hkv), 0], 4 * TILE_WORDS, m.fetched, 0)
  }
}

/** Moves on to the next turn's tile, which has been fetched, and fetches the one behind it. */
function nextTile(
  a: StepTiles & CacheArguments,
  c: PrefillConfig,
  m: PrefillMemory,
  walk: CopyWalk,
  place: i32[],
): void {
  const turn = place[TURN]! + 1
  const item = itemOfTurn(turn)
  place[TURN] = turn
  place[NEXT] = 0
  place[LAST] = -1
  const words = regs(TILE_WORDS, i32(0))
  const slot = turn & (WALK_TILES - 1)
  if (item < walk.items) {
    waitBarrier(m.fetched, 0, turn & 1)
    ;[...load(m.fetchedTile, [0], 4), ...load(m.fetchedTile, [4], 4)].forEach((word, i) => {
      words[i] = word
    })
    fetchTile(a, c, m, walk, turn + 1)
    place[SEQUENCE] = words[0]!
    place[HEAD] = item - idiv(item, c.Hkv) * c.Hkv
    words[0] = place[HEAD]!
    place[NEXT] = words[5]!
    place[LAST] = words[6]!
    place[PAGE] = words[7]!
    findPages(a, walk, place)
  }
  waitEmpty(m.tileRing, { stage: slot, parity: ((turn >>> Math.log2(WALK_TILES)) & 1) ^ 1 })
  store(m.tiles, [slot, 0], words.slice(0, 4))
  store(m.tiles, [slot, 4], words.slice(4))
  arrive(m.tileRing.full, slot)
}
