import { each, type f32, type i32, laneIdx, namedBarrier, shuffleXor, warpIdx } from '../../dsl/index.ts'
import { fragmentToken } from './arithmetic.ts'
import type { CopySource, Ring } from './decode-copies.ts'
import type { DecodeMemory } from './decode-memory.ts'
import { DECODE_THREADS, type DecodeConfig, type DecodeShape, WARP_TOKENS } from './decode-shape.ts'

/** Everything that stays the same for a CTA. */
export interface Decode {
  readonly a: CopySource & { readonly window: i32 }
  readonly c: DecodeConfig
  readonly d: DecodeShape
  readonly m: DecodeMemory
  readonly ring: Ring
}

/** Tokens of which a lane has scores. */
export const LANE_TOKENS = WARP_TOKENS / 8

/** Token `i` of a lane's tokens, of those of its warp: two of each 16. */
export const laneToken = (i: number): i32 => 16 * (i >> 1) + fragmentToken(8 * (i & 1)) + strandToken()

/** The part of it that depends on the lane: that of row g of a fragment. */
const strandToken = (): i32 => {
  const g = laneIdx >>> 2
  return 4 * (g >>> 1) + (g & 1)
}

/** The token of the unit. */
export const unitToken = (i: number): i32 => WARP_TOKENS * warpIdx + laneToken(i)

/** The rows of which a lane has scores; past the last there may be more. */
export const laneRows = ({ laneRows, paired }: DecodeShape): i32[] =>
  each(laneRows, (j) => (paired ? laneIdx & 3 : 8 * (j >> 1) + 2 * (laneIdx & 3) + (j & 1)))

/** A barrier of all warps. */
export const meet = (): void => namedBarrier(1, DECODE_THREADS)

/** The maximum over lanes that have the same rows. */
export function laneMax(value: f32): f32 {
  let all = value
  for (const mask of [4, 8, 16]) all = Math.max(all, shuffleXor(all, mask))
  return all
}

/** Whether all rows of a pass see the same tokens. */
export const rowsShare = ({ c }: Decode): boolean => c.queries === 1

/** The first of the lane's rows that sees the same tokens as row `j`. */
export const sharedRow = ({ c, d }: Decode, j: number): number =>
  c.queries === 1 ? 0 : d.group % 2 === 0 ? j & ~1 : j
