import {
  type f16,
  f16x2,
  f32,
  type i32,
  makeRing,
  overlay,
  type Ring,
  type Shared,
  shared,
  swizzledTile,
  type u32,
  unpack2,
} from '../../dsl/index.ts'
import { type KvConfig, PAGE_TOKENS } from '../formats/kv.ts'
import { VALUES } from '../formats/kv-pages.ts'
import { groupRows, type PrefillShape, type PrefillTiles, tileRows, warpgroups } from './prefill-shape.ts'
import { TILE_WORDS } from './prefill-tiles.ts'

/** Tokens of a unit, and pages that they lie on. */
export const unitTokens = 128
export const unitPages = unitTokens / PAGE_TOKENS

/** The shared memory of a CTA. */
export interface PrefillMemory {
  /** Pages as they are in the cache, keys or values of one: [stage, byte]; and their parameters. */
  readonly raw: Shared<number>
  readonly rawParams: Shared<f16>
  readonly rawRing: Ring
  /** The tiles that it has begun: [turn mod 4, word]. */
  readonly tiles: Shared<i32>
  readonly tileRing: Ring
  /** Queries of the tile at hand: [warpgroup, 64 columns, row, column]. */
  readonly queries: Shared<f16>
  /**
   * Codes as the f16 that `wgmma` reads: keys [stage, 64 columns, place of a token, column], values [stage, 64 tokens, column,
   * place of a token].
   */
  readonly keys: Shared<f16>
  readonly values: Shared<f16>
  /** The same as bytes in a row. */
  readonly keyBytes: Shared<number>
  readonly valueBytes: Shared<number>
  /**
   * Scales of keys, or of values, two f16 to a word: [stage, block, lane of four, word], of each sixteen tokens four consecutive ones
   * a lane, which does not share banks with the three beside it.
   */
  readonly scales: Shared<u32>
  /** The largest value scale of the tokens up to each: [stage, token]. */
  readonly tops: Shared<f32>
  /** The step of a unit's integers where all its tokens are seen: [stage]. */
  readonly steps: Shared<f32>
  readonly keyRing: Ring
  readonly valueRing: Ring
  /** The state of each row behind the finished splits: reference, scale, and sum of probabilities. */
  readonly states: Shared<f32>
  /** The running softmax of each thread's rows: reference and scale of the one and the other, and their sums of probabilities. */
  readonly references: Shared<f32>
  readonly totals: Shared<f32>
}

/** Tiles that the copies may be ahead of what is unpacked, that one included: more than units under way. A power of two. */
export const WALK_TILES = 4

/** Warps that unpack. */
export const unpackers = 3

/** Rows of tiles have 64 elements, whatever of them is used, and as many bytes. */
export const tileColumns = 64
export const pitch = 2 * tileColumns

/** Tiles beside each other that hold so many columns. */
export const tilesOf = (columns: number): number => Math.ceil(columns / tileColumns)

export function makeMemory(t: PrefillTiles, { D }: PrefillShape, kv: KvConfig): PrefillMemory {
  const keys = shared<f16>('f16', swizzledTile([t.stages, tilesOf(D), unitTokens, tileColumns], 'f16'))
  const values = shared<f16>('f16', swizzledTile([t.stages, tilesOf(unitTokens), D, tileColumns], 'f16'))
  return {
    raw: shared<number>('u8', [t.rawStages, kv.PB]),
    rawParams: shared<f16>('f16', [t.rawStages, 2 * PAGE_TOKENS]),
    rawRing: makeRing({ stages: t.rawStages, producers: 1, consumers: unpackers, sharers: 1 }),
    tiles: shared<i32>('i32', [WALK_TILES, TILE_WORDS]),
    tileRing: makeRing({ stages: WALK_TILES, producers: 1, consumers: 4 * warpgroups, sharers: 1 }),
    queries: shared<f16>('f16', swizzledTile([warpgroups, tilesOf(D), groupRows, tileColumns], 'f16')),
    keys,
    values,
    keyBytes: overlay<number>(keys, 'u8', [t.stages * tilesOf(D) * unitTokens * pitch]),
    valueBytes: overlay<number>(values, 'u8', [t.stages * tilesOf(unitTokens) * D * pitch]),
    scales: shared<u32>('u32', [t.stages, 2, 4, unitTokens / 8 + 4]),
    tops: shared<f32>('f32', [t.stages, unitTokens]),
    steps: shared<f32>('f32', [t.stages, 1]),
    keyRing: makeRing({ stages: t.stages, producers: unpackers, consumers: 4 * warpgroups, sharers: 1 }),
    valueRing: makeRing({ stages: t.stages, producers: unpackers, consumers: 4 * warpgroups, sharers: 1 }),
    states: shared<f32>('f32', [tileRows, 4]),
    references: shared<f32>('f32', [128 * warpgroups, 4]),
    totals: shared<f32>('f32', [128 * warpgroups, 2]),
  }
}

/** The scale in a word of parameters. */
export const scaleOf = (word: u32): f32 => f32(unpack2(f16x2.bits(word))[0])

/** The scale of the values of one of a unit's tokens. */
export function scaleAt(m: PrefillMemory, stage: i32, token: i32): f32 {
  const word = m.scales.at(stage, VALUES, (token >>> 2) & 3, 2 * (token >>> 4) + ((token >>> 1) & 1))
  return scaleOf((token & 1) === 1 ? word >>> 16 : word)
}
