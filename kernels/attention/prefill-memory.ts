import {
  type Barriers,
  barriers,
  type f16,
  type i32,
  initBarrier,
  initRing,
  makeRing,
  overlay,
  type Ring,
  type Shared,
  shared,
  swizzledTile,
} from '../../dsl/index.ts'
import { type KvConfig, PAGE_TOKENS } from '../formats/kv.ts'
import { groupRows, type PrefillShape, type PrefillTiles, unpackers, warpgroups } from './prefill-shape.ts'
import { TILE_WORDS } from './prefill-tiles.ts'

/** Tokens of a unit, and pages that they lie on. */
export const unitTokens = 128
export const unitPages = unitTokens / PAGE_TOKENS

/** The shared memory of a CTA. */
export interface PrefillMemory {
  /**
   * A unit's keys, or its values, as they are in the cache, page after page: [stage, byte]; and their parameters, scale and minimum
   * of each token: [stage, 2 · token].
   */
  readonly raw: Shared<number>
  readonly rawParams: Shared<f16>
  readonly rawRing: Ring
  /** The tiles that the copies have begun: [turn mod `WALK_TILES`, word]. */
  readonly tiles: Shared<i32>
  readonly tileRing: Ring
  /** The words of the tile behind them, as they come from the list. */
  readonly fetchedTile: Shared<i32>
  readonly fetched: Barriers
  /** Queries of the tile at hand: [warpgroup, 64 columns, row, place of a column]. */
  readonly queries: Shared<f16>
  /**
   * What codes stand for, for `wgmma`: keys [stage, 64 columns, place of a token, place of a column], values [stage, 64 tokens,
   * row of a column, place of a token]. Places are those of `placeOfToken` and `placeOfColumn`, but of values of a unit's second
   * half odd tokens have the first eight places of sixteen: fewer banks are then shared.
   */
  readonly keys: Shared<f16>
  readonly values: Shared<f16>
  /** The same as bytes in a row. */
  readonly keyBytes: Shared<number>
  readonly valueBytes: Shared<number>
  readonly keyRing: Ring
  readonly valueRing: Ring
}

/**
 * Tiles that the copies may be ahead of whoever reads their descriptions, that one included: more than units under way, those in
 * `raw` and those of the two rings. A power of two.
 */
export const WALK_TILES = 8

/** Rows of tiles have 64 elements, whatever of them is used, and as many bytes. */
export const tileColumns = 64
export const pitch = 2 * tileColumns

/** Tiles beside each other that hold so many columns. */
export const tilesOf = (columns: number): number => Math.ceil(columns / tileColumns)

/**
 * Where a token of a unit lies among its sixteen: a lane's accumulators of scores, 2t, 2t + 1, 8 + 2t and 8 + 2t + 1, are then
 * the tokens 4q, 4q + 2, 4q + 1 and 4q + 3, where q is the lane's four of that sixteen. They are what a word of values holds, and
 * the fragments of the next product.
 */
export const placeOfToken = (token: i32): i32 =>
  8 * (token & 1) + 2 * (((token >>> 2) & 3) ^ foursSwizzle(token >>> 4)) + ((token >>> 1) & 1)

/**
 * What the four fours of a sixteen, of the eight of a unit, are xored with: lanes that read the parameters of one four of each sixteen
 * at a time meet different banks.
 */
export const foursSwizzle = (sixteen: i32): i32 => (sixteen >>> 1) & 3

/** Where a column lies among sixteen of a key, or of a query: even ones first, as they are unpacked from words. */
export const placeOfColumn = (column: i32): i32 => 8 * (column & 1) + (column >>> 1)

/** The shape of the tiles of queries. */
export const queryShape = (D: number): readonly number[] => [warpgroups, tilesOf(D), groupRows, tileColumns]

/**
 * The row of a column of values: 8o + 2t + e has column 8(o div 4) + 2(o mod 4) + e of the lane t's quarter of them, so that a lane's
 * accumulators are runs of eight columns.
 */
export function rowOfColumn(D: number, column: i32): i32 {
  // A quotient, on the host too.
  const lane = (column * Math.ceil(2 ** 14 / (D / 4))) >>> 14
  return 8 * ((column - lane * (D / 4)) >>> 1) + 2 * lane + (column & 1)
}

export function makeMemory(t: PrefillTiles, { D }: PrefillShape, kv: KvConfig): PrefillMemory {
  const keys = shared<f16>('f16', swizzledTile([t.keyStages, tilesOf(D), unitTokens, tileColumns], 'f16'))
  const values = shared<f16>('f16', swizzledTile([t.valueStages, tilesOf(unitTokens), D, tileColumns], 'f16'))
  const unpacked = { producers: unpackers, consumers: 4 * warpgroups, sharers: 1 }
  return {
    raw: shared<number>('u8', [t.rawStages, unitPages * kv.PB]),
    rawParams: shared<f16>('f16', [t.rawStages, 2 * unitTokens]),
    rawRing: makeRing({ stages: t.rawStages, producers: 1, consumers: unpackers, sharers: 1 }),
    tiles: shared<i32>('i32', [WALK_TILES, TILE_WORDS]),
    tileRing: makeRing({
      stages: WALK_TILES,
      producers: 1,
      consumers: unpackers + 4 * warpgroups,
      sharers: 1,
    }),
    fetchedTile: shared<i32>('i32', [TILE_WORDS]),
    fetched: barriers(1),
    queries: shared<f16>('f16', swizzledTile(queryShape(D), 'f16')),
    keys,
    values,
    keyBytes: overlay<number>(keys, 'u8', [t.keyStages * tilesOf(D) * unitTokens * pitch]),
    valueBytes: overlay<number>(values, 'u8', [t.valueStages * tilesOf(unitTokens) * D * pitch]),
    keyRing: makeRing({ ...unpacked, stages: t.keyStages }),
    valueRing: makeRing({ ...unpacked, stages: t.valueStages }),
  }
}

/** Initializes its barriers, by the thread that starts copies. For all others they are ready behind a barrier of the CTA. */
export function initMemory(m: PrefillMemory): void {
  initBarrier(m.fetched, 0, 1)
  for (const ring of [m.rawRing, m.keyRing, m.valueRing, m.tileRing]) initRing(ring)
}
