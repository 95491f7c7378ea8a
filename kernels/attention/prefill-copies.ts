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

/**
 * Where the thread that copies is: a stage of the ring, and the pages of the unit whose keys come next, which may still be on their way,
 * and of the one before it, whose values follow them.
 */
export interface CopyWalk {
  readonly at: Cursor
  readonly keyPages: i32[]
  readonly valuePages: i32[]
  readonly items: i32
}

/**
 * What else it knows lies in shared memory, as its warpgroup unpacks and has no registers to spare: turn, sequence, key/value head,
 * last page that a query sees, next unit of keys, the tile's last unit (behind the last tile a lower one), and the key/value head of
 * the next values, below 0 where there are none.
 */
const [TURN, SEQUENCE, HEAD, PAGE, NEXT, LAST, VALUE_HEAD] = [0, 1, 2, 3, 4, 5, 6]

/** Begins to copy, by the thread for which `isCopier` holds: what has stages, but for those of the next keys and values. */
export function beginWalk(
  a: StepTiles & CacheArguments,
  c: PrefillConfig,
  m: PrefillMemory,
  isCopier: boolean,
): CopyWalk {
  const pages = () => regs(unitPages, i32(0))
  const walk = { at: producerCursor(), keyPages: pages(), valuePages: pages(), items: itemsOf(a, c) }
  if (isCopier) {
    const place = regs(8, i32(0))
    place[TURN] = -1
    place[VALUE_HEAD] = -1
    fetchTile(a, c, m, walk, i32(0))
    nextTile(a, c, m, walk, place)
    storePlace(m, place)
    for (const _ of range(Math.floor(c.rawStages / 2) - 1)) {
      copyKeys(a, c, m, walk)
      copyValues(a, c, m, walk)
    }
  }
  return walk
}

/**
 * Asks for the keys of the next unit of all the CTA's tiles, if there is one, as a stage comes free: of the units one by one before the
 * values of the unit before.
 */
export function copyKeys(a: CacheArguments, c: PrefillConfig, m: PrefillMemory, walk: CopyWalk): void {
  const place = loadPlace(m)
  if (place[NEXT]! <= place[LAST]!) copyBlock(a, c, m, walk, KEYS, walk.keyPages, place[HEAD]!)
}

/**
 * Asks for the values of the unit before, and moves on. Before the first unit of a tile it leaves the tile in `m.tiles`, and behind the
 * last tile one without tokens.
 */
export function copyValues(
  a: StepTiles & CacheArguments,
  c: PrefillConfig,
  m: PrefillMemory,
  walk: CopyWalk,
): void {
  const place = loadPlace(m)
  if (place[VALUE_HEAD]! >= 0) copyBlock(a, c, m, walk, VALUES, walk.valuePages, place[VALUE_HEAD]!)
  if (place[NEXT]! <= place[LAST]!) {
    place[VALUE_HEAD] = place[HEAD]!
    for (const i of unroll(unitPages)) walk.valuePages[i] = walk.keyPages[i]!
    place[NEXT] = place[NEXT]! + 1
    if (place[NEXT]! > place[LAST]!) nextTile(a, c, m, walk, place)
    else findPages(a, walk, place)
  } else place[VALUE_HEAD] = -1
  storePlace(m, place)
}

/** Asks for the keys or the values of a unit. */
function copyBlock(
  a: CacheArguments,
  c: PrefillConfig,
  m: PrefillMemory,
  { at }: CopyWalk,
  block: typeof KEYS | typeof VALUES,
  pages: readonly i32[],
  head: i32,
): void {
  const { full } = m.rawRing
  const { stage } = at
  waitEmpty(m.rawRing, at)
  expectBytes(m.rawRing, stage, unitPages * (c.PB + paramBytes))
  for (const i of unroll(unitPages)) {
    const from = [pages[i]!, head, block, 0]
    copyBulk(m.raw, [stage, i * c.PB], a.kv, from, c.PB, full, stage)
    const params = [stage, 2 * i * PAGE_TOKENS]
    copyBulk(m.rawParams, params, a.kvParams!, [...from, 0], paramBytes, full, stage)
  }
  advance(at, m.rawRing, 1)
}

/** Bytes of the parameters of the keys, or the values, of a page and head. */
const paramBytes = PAGE_TOKENS * 4

function loadPlace(m: PrefillMemory): i32[] {
  const place = regs(8, i32(0))
  ;[...load(m.walk, [0], 4), ...load(m.walk, [4], 4)].forEach((word, i) => {
    place[i] = word
  })
  return place
}

const storePlace = (m: PrefillMemory, place: readonly i32[]): void => {
  store(m.walk, [0], place.slice(0, 4))
  store(m.walk, [4], place.slice(4))
}

/** Reads which pages the next keys have; behind the last that a query sees, that one stands in. */
function findPages(a: CacheArguments, walk: CopyWalk, place: readonly i32[]): void {
  for (const i of unroll(unitPages))
    walk.keyPages[i] = a.pages.at(place[SEQUENCE]!, Math.min(place[NEXT]! * unitPages + i, place[PAGE]!))
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
