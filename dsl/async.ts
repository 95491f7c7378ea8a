import { deviceOnly, type i32 } from './scalars.ts'
import type { Barriers, In, InOut, Out, Shared } from './tensor.ts'

/**
 * What a kernel may call on Hopper to copy without registers: barriers in shared memory that count arrivals and bytes,
 * and copies by the copy engine, which run asynchronously and complete on such a barrier or in a group.
 *
 * The engine reads and writes shared memory through the *async proxy*. What threads have stored is visible to it only
 * behind `fenceAsync()` in every thread that stored and a barrier; what it has stored is visible to threads that waited
 * for its mbarrier.
 */

// ---- barriers in shared memory --------------------------------------------------------------------------------------

/**
 * `count` mbarriers in shared memory, not yet initialized. Each has phases: a phase completes when `arrivals` threads
 * have arrived and all the bytes that were announced have come.
 */
export function barriers(_count: number): Barriers {
  return deviceOnly('barriers')
}
/** `mbarrier.init`: by one thread; `fenceBarrierInit()` and a barrier of the CTA (or cluster) must follow before use. */
export function initBarrier(_of: Barriers, _index: i32, _arrivals: number): void {
  deviceOnly('initBarrier')
}
/** `fence.mbarrier_init.release.cluster`: makes initialized barriers visible to the copy engine and to the cluster. */
export function fenceBarrierInit(): void {
  deviceOnly('fenceBarrierInit')
}
/** `mbarrier.arrive`: one arrival, at a barrier of this CTA or (`of.peer(rank)`) of another CTA of the cluster. */
export function arrive(_at: Barriers, _index: i32): void {
  deviceOnly('arrive')
}
/** `mbarrier.arrive.expect_tx`: one arrival that announces `bytes` of copies to the current phase. */
export function arriveExpecting(_at: Barriers, _index: i32, _bytes: i32): void {
  deviceOnly('arriveExpecting')
}
/**
 * Waits until the phase of parity `parity` (0 or 1) has completed: a loop of `mbarrier.try_wait.parity`. On a fresh
 * barrier parity 1 counts as complete.
 */
export function waitBarrier(_on: Barriers, _index: i32, _parity: i32): void {
  deviceOnly('waitBarrier')
}
/** `fence.proxy.async.shared::cta`: orders this thread's stores to shared memory before asynchronous reads of them. */
export function fenceAsync(): void {
  deviceOnly('fenceAsync')
}

// ---- copies by the copy engine --------------------------------------------------------------------------------------

/** What L2 should do with the lines of a copy (`createpolicy.fractional`). */
export interface CacheHint {
  readonly evict?: 'first' | 'last'
}
export interface TileCopyOptions extends CacheHint {
  /** Bit r set: CTA r of the cluster gets the tile too, at the same place, and its barrier of the same index the bytes. */
  readonly multicast?: i32
}

type Source<T> = In<T, string, string> | InOut<T, string, string>
type Destination<T> = Out<T, string, string> | InOut<T, string, string>

/**
 * `cp.async.bulk` from global to shared memory: `bytes` contiguous bytes (a multiple of 16, both addresses too), counted
 * on the barrier. Issued by one thread.
 */
export function copyBulk<T>(
  _dst: Shared<T>,
  _dstIndex: readonly i32[],
  _src: Source<T>,
  _srcIndex: readonly i32[],
  _bytes: i32,
  _barrier: Barriers,
  _barrierIndex: i32,
  _options?: CacheHint,
): void {
  deviceOnly('copyBulk')
}
/**
 * `cp.async.bulk.tensor` from global to shared memory: the whole tile `dst`, from the element `origin` of `src` on,
 * counted on the barrier as the tile's bytes. Issued by one thread.
 *
 * `dst` is a tile of two dimensions, [rows, columns], of which a row takes at most the bytes of its swizzle; or of three,
 * [slabs, rows, columns]: slab s lies s times `columns` further along the columns of `src`. Its layout must be row-major
 * or that of `swizzledTile`, from which the compiler derives the tensor map. Elements outside of `src` arrive as zeros.
 */
export function copyTensor<T>(
  _dst: Shared<T>,
  _src: Source<T>,
  _origin: readonly [row: i32, column: i32],
  _barrier: Barriers,
  _barrierIndex: i32,
  _options?: TileCopyOptions,
): void {
  deviceOnly('copyTensor')
}
/**
 * `cp.async.bulk.prefetch.L2`: has `bytes` contiguous bytes (a multiple of 16, the address too) brought into L2, and does not
 * wait. Issued by one thread.
 */
export function prefetchBulk<T>(_src: Source<T>, _srcIndex: readonly i32[], _bytes: i32): void {
  deviceOnly('prefetchBulk')
}
/** `prefetch.tensormap` for the map that copies of tiles like `tile` from or to `tensor` use. By one thread. */
export function prefetchTensor<T>(_tile: Shared<T>, _tensor: Source<T> | Destination<T>): void {
  deviceOnly('prefetchTensor')
}
/** `cp.async.bulk.tensor` from shared to global memory; elements outside of `dst` are not written. By one thread. */
export function storeTensor<T>(
  _dst: Destination<T>,
  _origin: readonly [row: i32, column: i32],
  _src: Shared<T>,
  _options?: CacheHint,
): void {
  deviceOnly('storeTensor')
}
/** `cp.async.bulk` from shared to global memory: `bytes` contiguous bytes. By one thread. */
export function storeBulk<T>(
  _dst: Destination<T>,
  _dstIndex: readonly i32[],
  _src: Shared<T>,
  _srcIndex: readonly i32[],
  _bytes: i32,
): void {
  deviceOnly('storeBulk')
}
/** `cp.reduce.async.bulk.add`: adds `bytes` contiguous bytes of `i32`, `u32` or `f32` to global memory. By one thread. */
export function addBulk<T>(
  _dst: InOut<T, string, string>,
  _dstIndex: readonly i32[],
  _src: Shared<T>,
  _srcIndex: readonly i32[],
  _bytes: i32,
): void {
  deviceOnly('addBulk')
}
/** `cp.async.bulk.commit_group`: this thread's stores and additions since the last commit become a group. */
export function commitBulk(): void {
  deviceOnly('commitBulk')
}
/**
 * `cp.async.bulk.wait_group`: waits until at most `pending` groups of this thread have not completed; with `read`, until
 * their sources have been read and may be overwritten.
 */
export function waitBulk(_pending: number, _options?: { readonly read?: boolean }): void {
  deviceOnly('waitBulk')
}
