import { barrier, commitCopies, range, unroll, waitCopies } from '../intrinsics.ts'
import type { i32 } from '../scalars.ts'

/** The two halves of a pipelined loop. `stage` is the slot of the ring that step `k` fills or reads. */
export interface PipelineBody {
  /** Starts the asynchronous copies of step `k` into `stage`, without committing them. */
  load(k: i32, stage: i32): void
  /** Uses what step `k` left in `stage`. */
  compute(k: i32, stage: i32): void
}

/**
 * A multistage loop of `cp.async` copies: while step k is computed, the copies of the next `stages - 1` steps are under
 * way. All threads of the CTA must take part. One barrier a step serves both directions: it publishes the copies of
 * step k, and it tells that everybody has left the stage which is about to be filled.
 *
 * When it returns, no copy is pending; a barrier is due before the stages are reused.
 */
export function pipeline(o: { readonly stages: number; readonly steps: i32 }, body: PipelineBody): void {
  for (const step of unroll(o.stages - 1)) {
    if (step < o.steps) body.load(step, step)
    commitCopies()
  }
  let reading: i32 = 0
  let filling: i32 = o.stages - 1
  for (const k of range(o.steps)) {
    waitCopies(o.stages - 2)
    barrier()
    const ahead = k + (o.stages - 1)
    if (ahead < o.steps) body.load(ahead, filling)
    // An empty group is committed too, so that the count of pending groups stays the same to the end.
    commitCopies()
    body.compute(k, reading)
    reading = reading === o.stages - 1 ? 0 : reading + 1
    filling = filling === o.stages - 1 ? 0 : filling + 1
  }
  waitCopies(0)
}
