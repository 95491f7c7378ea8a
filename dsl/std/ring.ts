import { arrive, arriveExpecting, barriers, fenceBarrierInit, initBarrier, waitBarrier } from '../async.ts'
import { laneIdx, unroll } from '../intrinsics.ts'
import { i32 } from '../scalars.ts'
import type { Barriers } from '../tensor.ts'

/**
 * A ring of stages between producers, single threads that start asynchronous copies into a stage, and consumer warps.
 *
 * Two mbarriers a stage: `full` completes when every producer has announced its bytes and all of them have come; `empty`
 * when every consumer warp has released the stage. The phase of a barrier flips each time the ring wraps, which a cursor
 * keeps count of.
 */
export interface Ring extends RingOptions {
  readonly full: Barriers
  readonly empty: Barriers
}

export interface RingOptions {
  readonly stages: number
  /** Producers that announce bytes to a stage. */
  readonly producers: number
  /** Warps of this CTA that read a stage. */
  readonly consumers: number
  /** CTAs of the cluster whose producers copy into this CTA's stages too (multicast), itself included. */
  readonly sharers: number
}

/** A ring whose barriers are still to be initialized. Called by all threads. */
export const makeRing = (o: RingOptions): Ring => ({
  ...o,
  full: barriers(o.stages),
  empty: barriers(o.stages),
})

/**
 * Initializes a ring's barriers, by the one thread that may start copies into stages at once. For everybody else they are
 * ready behind a barrier of the CTA, and of the cluster where CTAs share their stages.
 */
export function initRing(ring: Ring): void {
  for (const stage of unroll(ring.stages)) {
    initBarrier(ring.full, stage, ring.producers)
    initBarrier(ring.empty, stage, ring.consumers * ring.sharers)
  }
  fenceBarrierInit()
}

/** A place in a ring: the stage, and the parity of the phase to wait for. */
export interface Cursor {
  stage: i32
  parity: i32
}

/** Where a consumer starts that takes stage `first`. */
export const consumerCursor = (first: i32): Cursor => ({ stage: i32(first), parity: i32(0) })

/** Where a producer starts: its first turn finds the stages empty, as parity 1 of a fresh barrier counts as complete. */
export const producerCursor = (): Cursor => ({ stage: i32(0), parity: i32(1) })

/** Moves on by at most `ring.stages` stages. */
export function advance(at: Cursor, ring: Ring, by: i32): void {
  const next = at.stage + by
  const wraps = next >= ring.stages
  at.stage = wraps ? next - ring.stages : next
  at.parity = wraps ? at.parity ^ 1 : at.parity
}

/** A producer: waits until the stage may be filled. */
export function waitEmpty(ring: Ring, at: Cursor): void {
  waitBarrier(ring.empty, at.stage, at.parity)
}

/** A producer: announces the bytes that come into the stage, its own copies' and what others multicast into it. */
export function expectBytes(ring: Ring, stage: i32, bytes: i32): void {
  arriveExpecting(ring.full, stage, bytes)
}

/** A consumer: waits until the stage has been filled. */
export function waitFull(ring: Ring, at: Cursor): void {
  waitBarrier(ring.full, at.stage, at.parity)
}

/** A consumer warp gives a stage back, to every CTA that copies into it. */
export function release(ring: Ring, stage: i32): void {
  if (ring.sharers === 1) {
    if (laneIdx === 0) arrive(ring.empty, stage)
  } else if (laneIdx < ring.sharers) arrive(ring.empty.peer(laneIdx), stage)
}
