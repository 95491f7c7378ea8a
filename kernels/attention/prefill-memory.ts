import {
  type Barriers,
  barriers,
  type f16,
  type f32,
  type i32,
  makeRing,
  overlay,
  type Ring,
  type Shared,
  shared,
  swizzledTile,
} from '../../dsl/index.ts'
import { type KvConfig, PAGE_TOKENS } from '../formats/kv.ts'
import { type PrefillShape, type PrefillTiles, tileRows } from './prefill-shape.ts'
import { TILE_WORDS } from './prefill-tiles.ts'

/** Tokens of a unit, and pages that they lie on. */
export const unitTokens = 128
export const unitPages = unitTokens / PAGE_TOKENS

/** Rows of `params`: what a unit's tokens have, each 128 numbers. */
export const KEY_SCALE = 0
export const KEY_MIN = 1
/** Value scales as shares of the largest: what a probability is multiplied with. */
export const WEIGHT = 2
export const VALUE_MIN = 3
export const VALUE_SCALE = 4
/** The largest value scale of the tokens up to each. */
export const TOP = 5

/** The shared memory of a CTA. */
export interface PrefillMemory {
  /** Pages as they are in the cache, keys and values: [stage, byte]; and their parameters. */
  readonly raw: Shared<number>
  readonly rawParams: Shared<f16>
  readonly rawRing: Ring
  /** What the thread that copies pages knows of its next unit. */
  readonly walk: Shared<i32>
  /** The tiles that it has begun: [turn mod 4, word]. */
  readonly tiles: Shared<i32>
  readonly tileRing: Ring
  /** The next tile of the list, and the barrier of its copy. */
  readonly fetchedTile: Shared<i32>
  readonly fetched: Barriers
  /** Codes as bytes that `wgmma` reads: keys [stage, place of a token, column], values [stage, column, token]. */
  readonly keys: Shared<number>
  readonly values: Shared<number>
  /** The same as bytes in a row. */
  readonly keyBytes: Shared<number>
  readonly valueBytes: Shared<number>
  readonly params: Shared<f32>
  /** The value of a unit's last bit: [stage]. */
  readonly steps: Shared<f32>
  readonly keyRing: Ring
  /** Of values and of all parameters: those of keys are wanted as long. */
  readonly valueRing: Ring
  /** Sums of finished splits: [warpgroup, four columns, thread, one of them]; and the state of rows, likewise by thread. */
  readonly totals: Shared<f32>
  readonly states: Shared<f32>
}

/** Tiles that the copies may be ahead of what is unpacked, that one included: more than units under way. A power of two. */
export const WALK_TILES = 4

/** Rows of tiles have 128 bytes, whatever of them is used. */
export const pitch = 128

export function makeMemory(t: PrefillTiles, { D }: PrefillShape, kv: KvConfig): PrefillMemory {
  const keys = shared<number>('u8', swizzledTile([t.stages, unitTokens, pitch], 'u8'))
  const values = shared<number>('u8', swizzledTile([t.stages, D, pitch], 'u8'))
  return {
    raw: shared<number>('u8', [t.rawStages, 2 * kv.PB]),
    rawParams: shared<f16>('f16', [t.rawStages, 4 * PAGE_TOKENS]),
    rawRing: makeRing({ stages: t.rawStages, producers: 1, consumers: 4, sharers: 1 }),
    walk: shared<i32>('i32', [8]),
    tiles: shared<i32>('i32', [WALK_TILES, TILE_WORDS]),
    fetchedTile: shared<i32>('i32', [TILE_WORDS]),
    fetched: barriers(1),
    tileRing: makeRing({ stages: WALK_TILES, producers: 1, consumers: 8, sharers: 1 }),
    keys,
    values,
    keyBytes: overlay<number>(keys, 'u8', [t.stages * unitTokens * pitch]),
    valueBytes: overlay<number>(values, 'u8', [t.stages * D * pitch]),
    params: shared<f32>('f32', [t.stages, 6, unitTokens]),
    steps: shared<f32>('f32', [t.stages, 1]),
    keyRing: makeRing({ stages: t.stages, producers: 4, consumers: 8, sharers: 1 }),
    valueRing: makeRing({ stages: t.stages, producers: 4, consumers: 8, sharers: 1 }),
    totals: shared<f32>('f32', [tileRows / 64, D / 8, 128, 4]),
    states: shared<f32>('f32', [tileRows / 64, 3, 128, 2]),
  }
}
