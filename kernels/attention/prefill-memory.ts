import {
  type f16,
  type f32,
  type i32,
  makeRing,
  overlay,
  type Ring,
  type Shared,
  shared,
  swizzledTile,
  type u32,
} from '../../dsl/index.ts'
import { type KvConfig, PAGE_TOKENS } from '../formats/kv.ts'
import { type PrefillShape, type PrefillTiles, tileRows } from './prefill-shape.ts'

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
  /** Pages as they are in the cache, keys and values: [stage, page, byte]; and their parameters. */
  readonly raw: Shared<number>
  readonly rawParams: Shared<f16>
  readonly rawRing: Ring
  /** What the thread that copies pages knows of its next unit. */
  readonly walk: Shared<i32>
  /** Codes as bytes that `wgmma` reads: keys [stage, place of a token, column], values [stage, column, token]. */
  readonly keys: Shared<number>
  readonly values: Shared<number>
  /** The same by words: [stage, word]. */
  readonly keyWords: Shared<u32>
  readonly valueWords: Shared<u32>
  readonly params: Shared<f32>
  /** The value of a unit's last bit: [stage]. */
  readonly steps: Shared<f32>
  readonly ring: Ring
  /** Sums of finished splits, and the state of rows: [warpgroup, four columns, thread, one of them]. */
  readonly totals: Shared<f32>
}

/** Rows of tiles have 128 bytes, whatever of them is used. */
const pitch = 128

export function makeMemory(t: PrefillTiles, { D }: PrefillShape, kv: KvConfig): PrefillMemory {
  const keys = shared<number>('u8', swizzledTile([t.stages, unitTokens, pitch], 'u8'))
  const values = shared<number>('u8', swizzledTile([t.stages, D, pitch], 'u8'))
  return {
    raw: shared<number>('u8', [t.rawStages, unitPages, 2 * kv.PB]),
    rawParams: shared<f16>('f16', [t.rawStages, unitPages, 4 * PAGE_TOKENS]),
    rawRing: makeRing({ stages: t.rawStages, producers: 1, consumers: 4, sharers: 1 }),
    walk: shared<i32>('i32', [8]),
    keys,
    values,
    keyWords: overlay<u32>(keys, 'u32', [t.stages, (unitTokens * pitch) / 4]),
    valueWords: overlay<u32>(values, 'u32', [t.stages, (D * pitch) / 4]),
    params: shared<f32>('f32', [t.stages, 6, unitTokens]),
    steps: shared<f32>('f32', [t.stages, 1]),
    ring: makeRing({ stages: t.stages, producers: 4, consumers: 8, sharers: 1 }),
    totals: shared<f32>('f32', [tileRows / 64, D / 8 + 3, 128, 4]),
  }
}
