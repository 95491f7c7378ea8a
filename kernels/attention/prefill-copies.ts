import {
  advance,
  arrive,
  copyBulk,
  each,
  expectBytes,
  type f16,
  type In,
  i32,
  idiv,
  laneIdx,
  load,
  producerCursor,
  range,
  regs,
  store,
  unroll,
  waitEmpty,
} from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { KEYS, VALUES } from '../formats/kv-pages.ts'
import { type PrefillMemory, unitPages } from './prefill-memory.ts'
import type { PrefillConfig } from './prefill-shape.ts'
import { itemOfTurn, itemsOf, type StepTiles, TILE_WORDS } from './prefill-tiles.ts'

/** The cache as prefill reads it. */
export interface CacheArguments {
  readonly pages: In<i32, 'B MaxPages'>
  readonly kv: In<number, 'Pages Hkv 2 PB'>
  readonly kvParams?: In<f16, 'Pages Hkv 2 64 2'>
}

/**
 * The warp of which one thread copies: of each tile of the CTA the description, and of its units keys and values, as stages come
 * free. Behind the last tile it leaves one without tokens.
 */
export function copyTiles(a: StepTiles & CacheArguments, c: PrefillConfig, m: PrefillMemory): void {
  if (laneIdx !== 0) return
  const at = producerCursor()
  const slot = producerCursor()
  const items = itemsOf(a, c)
  const words = regs(TILE_WORDS, i32(0))
  /** The tile of a turn; its words are on their way while the one before is copied. */
  const fetchTile = (turn: i32): void => {
    const tile = idiv(itemOfTurn(turn), c.Hkv)
    for (const i of unroll(TILE_WORDS)) words[i] = 0
    if (itemOfTurn(turn) < items) {
      ;[...load(a.tiles, [tile, 0], 4), ...load(a.tiles, [tile, 4], 4)].forEach((word, i) => {
        words[i] = word
      })
    }
  }
  let turn: i32 = 0
  fetchTile(turn)
  for (;;) {
    const item = itemOfTurn(turn)
    const head = item - idiv(item, c.Hkv) * c.Hkv
    const [sequence, token, tokens, position, context, first, last, lastPage] = words.map((word) => i32(word))
    waitEmpty(m.tileRing, slot)
    store(m.tiles, [slot.stage, 0], [head, token!, tokens!, position!])
    store(m.tiles, [slot.stage, 4], [context!, first!, last!, lastPage!])
    arrive(m.tileRing.full, slot.stage)
    advance(slot, m.tileRing, 1)
    if (item >= items) break
    turn += 1
    fetchTile(turn)
    /** Behind the last page that a query sees, that one stands in. */
    const pagesOf = (unit: i32): i32[] =>
      each(unitPages, (i) => a.pages.at(sequence!, Math.min(unit * unitPages + i, lastPage!)))
    const next = regs(unitPages, i32(0))
    pagesOf(first!).forEach((page, i) => {
      next[i] = page
    })
    for (const unit of range(first!, last! + 1)) {
      const pages = next.map((page) => i32(page))
      pagesOf(unit + 1).forEach((page, i) => {
        next[i] = page
      })
      for (const block of [KEYS, VALUES]) {
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
    }
  }
}

/** Bytes of the parameters of the keys, or the values, of a page and head. */
const paramBytes = PAGE_TOKENS * 4
