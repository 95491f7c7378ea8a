import { type f32, overlay, type Shared, shared, type u32 } from '../../dsl/index.ts'
import type { DecodeConfig, DecodeShape } from './decode-shape.ts'
import { MOST_TEAMS, ROUND_UNITS } from './rounds.ts'

/** What the warps of a CTA give each other in a round. */
export interface DecodeMemory {
  /** Queries as bytes, high and low ones, in the order of the keys' words: [team, row, word]. */
  readonly queries: Shared<u32>
  /** Of each row the step of its query and the sum of its integers: [team, row, one of them]. */
  readonly rowInfo: Shared<f32>
  /** Probabilities on their way from lane to lane, [warp, word]. */
  readonly exchange: Shared<u32>
  /** Then, in the same place, a unit's sums: [warp, row · pitch + column]. */
  readonly sums: Shared<f32>
  /** Of a unit and row: reference, sum of probabilities, sum of minima, and the step of `sums`: [warp, row, one of them]. */
  readonly statistics: Shared<f32>
}

export function makeDecodeMemory(d: DecodeShape): DecodeMemory {
  const exchange = shared<u32>('u32', [ROUND_UNITS, d.warpWords])
  return {
    queries: shared<u32>('u32', [MOST_TEAMS, d.rows, d.queryPitch]),
    rowInfo: shared<f32>('f32', [MOST_TEAMS, d.rows, 2]),
    exchange,
    sums: overlay<f32>(exchange, 'f32', [ROUND_UNITS, d.warpWords]),
    statistics: shared<f32>('f32', [ROUND_UNITS, d.rows, 4]),
  }
}

/** The place among a row's words of `part` (0 for high bytes, 1 for low ones). */
export const partOf = (c: DecodeConfig, part: number): number => (part * c.D) / 4
