import {
  arrive,
  type Barriers,
  barrier,
  barriers,
  type f32,
  i32,
  initBarrier,
  laneIdx,
  overlay,
  type Shared,
  shared,
  syncWarp,
  type u32,
  unroll,
  waitBarrier,
} from '../../dsl/index.ts'
import type { DecodeConfig, DecodeShape } from './decode-shape.ts'
import { MOST_TEAMS, ROUND_UNITS } from './rounds.ts'

/**
 * What the warps of a CTA give each other. Unless they go together, queries are ready two rounds ahead, and sums are added up
 * one round late, so that no warp waits for the others of its own round.
 *
 * Places are by team, or by warp, of a buffer.
 */
export interface DecodeMemory {
  /** Queries as bytes, high and low ones, in the order of the keys' words: [buffer and team, row, word]. */
  readonly queries: Shared<u32>
  /** Of each row the step of its query and the sum of its integers: [buffer and team, row, one of them]. */
  readonly rowInfo: Shared<f32>
  /** Probabilities on their way from lane to lane, [buffer and warp, word]. */
  readonly exchange: Shared<u32>
  /** Then, in the same place, a unit's sums: [buffer and warp, row · pitch + column]. */
  readonly sums: Shared<f32>
  /** Of a unit and row: reference, sum of probabilities, sum of minima, and the step of `sums`. */
  readonly statistics: Shared<f32>
  /** By buffer, unless warps go together: queries are ready, sums have been written, and have been read. */
  readonly barriers:
    | { readonly ready: Barriers; readonly written: Barriers; readonly free: Barriers }
    | undefined
}

export function makeDecodeMemory(c: DecodeConfig, d: DecodeShape): DecodeMemory {
  const exchange = shared<u32>('u32', [d.sumBuffers * ROUND_UNITS, d.warpWords])
  return {
    queries: shared<u32>('u32', [d.queryBuffers * MOST_TEAMS, d.rows, d.queryPitch]),
    rowInfo: shared<f32>('f32', [d.queryBuffers * MOST_TEAMS, d.rows, 2]),
    exchange,
    sums: overlay<f32>(exchange, 'f32', [d.sumBuffers * ROUND_UNITS, d.warpWords]),
    statistics: shared<f32>('f32', [d.sumBuffers * ROUND_UNITS, d.rows, 4]),
    barriers: c.lockstep
      ? undefined
      : { ready: barriers(d.queryBuffers), written: barriers(d.sumBuffers), free: barriers(d.sumBuffers) },
  }
}

/** By one thread, before `fenceBarrierInit` and a barrier of the CTA. */
export function initDecodeMemory(d: DecodeShape, { barriers: all }: DecodeMemory): void {
  if (all === undefined) return
  for (const i of unroll(d.queryBuffers)) initBarrier(all.ready, i, ROUND_UNITS)
  for (const i of unroll(d.sumBuffers)) {
    initBarrier(all.written, i, ROUND_UNITS)
    initBarrier(all.free, i, ROUND_UNITS)
  }
}

/** The place among a row's words of `part` (0 for high bytes, 1 for low ones). */
export const partOf = (c: DecodeConfig, part: number): number => (part * c.D) / 4

// ---- one round after the other --------------------------------------------------------------------------------------

/** A CTA's round, counted from 0, and where it keeps what. */
export interface Turn {
  count: i32
  /** Its buffer of queries, and the parity of its phase. */
  query: i32
  queryParity: i32
}

export const firstTurn = (): Turn => ({ count: i32(0), query: i32(0), queryParity: i32(0) })

export function nextTurn(d: DecodeShape, turn: Turn): void {
  const wraps = turn.query === d.queryBuffers - 1
  turn.count += 1
  turn.query = wraps ? 0 : turn.query + 1
  turn.queryParity = wraps ? 1 - turn.queryParity : turn.queryParity
}

/** Rounds after the present one until that whose queries are prepared next, and their buffer. */
export const roundsAhead = (d: DecodeShape): number => Math.max(1, d.queryBuffers - 1)
export const queryAhead = (d: DecodeShape, { query }: Turn): i32 =>
  query === 0 ? i32(d.queryBuffers - 1) : query - 1

/** The buffer of sums of the `count`-th round. */
export const sumBuffer = (d: DecodeShape, count: i32): i32 => count & (d.sumBuffers - 1)

/** The same where there are two. */
const half = (count: i32): i32 => count & 1

/** One arrival of a warp, for all that its lanes have done. */
function signal(at: Barriers, index: i32): void {
  syncWarp()
  if (laneIdx === 0) arrive(at, index)
}

/** A warp's part of the queries of a buffer is ready. */
export function signalQueries({ barriers: all }: DecodeMemory, buffer: i32): void {
  if (all !== undefined) signal(all.ready, buffer)
}

/** Waits for the queries of a round. */
export function awaitQueries({ barriers: all }: DecodeMemory, turn: Turn): void {
  if (all !== undefined) waitBarrier(all.ready, turn.query, turn.queryParity)
}

/** Waits until the sums that were in the place of a round's have been added up. */
export function awaitRoom({ barriers: all }: DecodeMemory, count: i32): void {
  if (all !== undefined) waitBarrier(all.free, half(count), 1 - ((count >>> 1) & 1))
}

/** A warp's sums of a round are written; where warps go together, those of all are. */
export function signalSums({ barriers: all }: DecodeMemory, count: i32): void {
  if (all !== undefined) signal(all.written, half(count))
  else barrier()
}

/** Waits for the sums of a round. */
export function awaitSums({ barriers: all }: DecodeMemory, count: i32): void {
  if (all !== undefined) waitBarrier(all.written, half(count), (count >>> 1) & 1)
}

/** A warp has added up its part of a round's sums. */
export function signalRoom({ barriers: all }: DecodeMemory, count: i32): void {
  if (all !== undefined) signal(all.free, half(count))
}
