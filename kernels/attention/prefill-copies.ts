import {
  advance,
  arrive,
  arriveExpecting,
  blockIdx,
  type Cursor,
  copyBulk,
  expectBytes,
  type f16,
  gridDim,
  type In,
  i32,
  idiv,
  load,
  producerCursor,
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
import { itemOfTurn, itemsOf, type StepTiles, TILE_WORDS, takeTurn } from './prefill-tiles.ts'

/** The cache as prefill reads it. */
export interface CacheArguments {
  readonly pages: In<i32, 'B MaxPages'>
  readonly kv: In<number, 'Pages Hkv 2 PB'>
  readonly kvParams?: In<f16, 'Pages Hkv 2 64 2'>
}

/** Where the thread that copies is. */
interface CopyWalk {
  /** The next stage. */
  readonly at: Cursor
  /** Tiles of all key/value heads. */
  readonly items: i32
  /** The pages of the unit whose keys come next, which may still be on their way. */
  readonly pages: i32[]
  readonly place: i32[]
}

/**
 * What it knows of the tile at hand: turn, sequence, key/value head, last page that a query sees, next unit, and the last; the item
 * behind it, and the turn that says which is the one behind that.
 */
const [TURN, SEQUENCE, HEAD, PAGE, NEXT, LAST, ITEM, BEHIND] = [0, 1, 2, 3, 4, 5, 6, 7]

/**
 * The thread that copies: of each tile of the CTA the description, and keys and values of its units, as stages come free. Keys are a
 * unit ahead of values, over the ends of tiles. Behind the last tile it leaves one without tokens.
 */
export function copyTiles(a: StepTiles & CacheArguments, c: PrefillConfig, m: PrefillMemory): void {
  const pages = () => regs(unitPages, i32(0))
  // The first description is on its way beside the count of tiles, whether there is one or not.
  copyDescription(a, m, Math.min(idiv(blockIdx.x, c.Hkv), a.tiles.dim('Tiles') - 1))
  const walk = { at: producerCursor(), items: itemsOf(a, c), pages: pages(), place: regs(8, i32(0)) }
  const { place } = walk
  place[TURN] = -1
  place[ITEM] = blockIdx.x
  place[BEHIND] = -1 - blockIdx.x
  if (place[ITEM]! >= walk.items) waitBarrier(m.fetched, 0, 0)
  nextTile(a, c, m, walk)
  /** Of the unit before, whose values come next: below 0 where there is none. */
  let head: i32 = -1
  const valuePages = pages()
  for (;;) {
    const hasKeys = place[NEXT]! <= place[LAST]!
    if (hasKeys) copyBlock(a, c, m, walk, KEYS, walk.pages, place[HEAD]!)
    if (head >= 0) copyBlock(a, c, m, walk, VALUES, valuePages, head)
    if (!hasKeys) break
    head = place[HEAD]!
    for (const i of unroll(unitPages)) valuePages[i] = walk.pages[i]!
    place[NEXT] = place[NEXT]! + 1
    if (place[NEXT]! > place[LAST]!) nextTile(a, c, m, walk)
    else findPages(a, walk)
  }
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

/** Reads which pages the next keys have; behind the last that a query sees, that one stands in. */
function findPages(a: CacheArguments, { pages, place }: CopyWalk): void {
  for (const i of unroll(unitPages))
    pages[i] = a.pages.at(place[SEQUENCE]!, Math.min(place[NEXT]! * unitPages + i, place[PAGE]!))
}

/** Fetches the tile of the next item, if there is one, and takes a turn for the one behind it, unless that is the CTA's second. */
function fetchTile(a: StepTiles, c: PrefillConfig, m: PrefillMemory, { items, place }: CopyWalk): void {
  const item = place[ITEM]!
  if (item < items) {
    if (item >= gridDim.x) place[BEHIND] = takeTurn(a)
    copyDescription(a, m, idiv(item, c.Hkv))
  }
}

/** Asks for a tile of the list. */
function copyDescription(a: StepTiles, m: PrefillMemory, tile: i32): void {
  arriveExpecting(m.fetched, 0, 4 * TILE_WORDS)
  copyBulk(m.fetchedTile, [0], a.tiles, [tile, 0], 4 * TILE_WORDS, m.fetched, 0)
}

/** Moves on to the next turn's tile, which has been fetched, and fetches the one behind it. */
function nextTile(a: StepTiles & CacheArguments, c: PrefillConfig, m: PrefillMemory, walk: CopyWalk): void {
  const { place } = walk
  const turn = place[TURN]! + 1
  const item = place[ITEM]!
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
    place[ITEM] = itemOfTurn(a, walk.items, place[BEHIND]!)
    fetchTile(a, c, m, walk)
    place[SEQUENCE] = words[0]!
    place[HEAD] = item - idiv(item, c.Hkv) * c.Hkv
    words[0] = place[HEAD]!
    place[NEXT] = words[5]!
    place[LAST] = words[6]!
    place[PAGE] = words[7]!
    findPages(a, walk)
  }
  waitEmpty(m.tileRing, { stage: slot, parity: ((turn >>> Math.log2(WALK_TILES)) & 1) ^ 1 })
  store(m.tiles, [slot, 0], words.slice(0, 4))
  store(m.tiles, [slot, 4], words.slice(4))
  arrive(m.tileRing.full, slot)
}
