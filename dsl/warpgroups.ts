import type { WgmmaAtom } from './atoms/index.ts'
import { deviceOnly, type f32, type i32, type u32 } from './scalars.ts'
import type { Shared } from './tensor.ts'

/**
 * What a kernel may call on Hopper for warpgroups (four warps whose first has an index divisible by 4), clusters of CTAs
 * and launches that overlap.
 */

// ---- wgmma ---------------------------------------------------------------------------------------------------------

/** The warpgroup within the CTA, `threadIdx.x >> 7`; the same in all lanes of a warpgroup. */
export const warpgroupIdx: i32 = 0

/** A matrix operand in shared memory: a descriptor made from a tile's layout. */
export interface MatrixOperand {
  readonly tile?: Shared<number>
}
/**
 * The operand of a `wgmma` that begins at element [row, column] of a tile of two dimensions: rows of A or of Bᵀ, K along
 * the columns. The tile must be a `swizzledTile` (or the part of one at leading indices), and `column` a multiple of
 * 32 bytes.
 */
export function matrixOperand<T extends number>(
  _tile: Shared<T>,
  _index: readonly [row: number, column: number],
): MatrixOperand {
  return deviceOnly('matrixOperand')
}
/**
 * `wgmma.mma_async`: starts acc = A·B + (accumulate ? acc : 0) for the warpgroup. A is a lane's fragment of four
 * registers, or in shared memory; B is in shared memory. Neither `acc`, A's registers nor the tiles may be touched before
 * a `wgmmaWait` covers the group; `wgmmaFence()` must stand between ordinary writes of registers and the first `wgmma`.
 */
export function wgmma(
  _atom: WgmmaAtom,
  _acc: (f32 | i32)[],
  _a: readonly u32[] | MatrixOperand,
  _b: MatrixOperand,
  _accumulate: boolean,
): void {
  deviceOnly('wgmma')
}
/** `wgmma.fence`: orders ordinary accesses to registers before the `wgmma`s that follow. */
export function wgmmaFence(): void {
  deviceOnly('wgmmaFence')
}
/** `wgmma.commit_group`: the `wgmma`s since the last commit become a group. */
export function wgmmaCommit(): void {
  deviceOnly('wgmmaCommit')
}
/** `wgmma.wait_group`: waits until at most `pending` of the latest groups have not completed. */
export function wgmmaWait(_pending: number): void {
  deviceOnly('wgmmaWait')
}
/**
 * `stmatrix`: stores `words.length` (1, 2 or 4) 8×8 tiles of 16-bit elements from fragments; lane l gives the index of row
 * l % 8 of tile l / 8. The inverse of `ldmatrix`.
 */
export function stmatrix<T>(
  _tile: Shared<T>,
  _index: readonly i32[],
  _words: readonly u32[],
  _options?: { readonly transposed?: boolean },
): void {
  deviceOnly('stmatrix')
}

// ---- roles ---------------------------------------------------------------------------------------------------------

/** `setmaxnreg.inc`: takes registers until each thread of the warpgroup has `count` (a multiple of 8, 24 to 256). */
export function increaseRegisters(_count: number): void {
  deviceOnly('increaseRegisters')
}
/** `setmaxnreg.dec`: gives registers back until each thread of the warpgroup has `count`. */
export function decreaseRegisters(_count: number): void {
  deviceOnly('decreaseRegisters')
}
/** `bar.sync id, threads`: waits until `threads` threads (whole warps) have come to barrier `id`, 1 to 15. */
export function namedBarrier(_id: i32, _threads: number): void {
  deviceOnly('namedBarrier')
}
/** `bar.arrive id, threads`: comes to barrier `id` without waiting. */
export function namedArrive(_id: i32, _threads: number): void {
  deviceOnly('namedArrive')
}

// ---- clusters ------------------------------------------------------------------------------------------------------

/** This CTA's rank in its cluster, `%cluster_ctarank`. Kernels say how many CTAs a cluster has: `cluster: (c) => 2`. */
export const clusterRank: i32 = 0
/** CTAs of a cluster: static. */
export const clusterSize: number = 1
/**
 * `barrier.cluster.arrive.release` and `.wait.acquire`: all threads of all CTAs of the cluster. At the end of a kernel whose
 * CTAs only load from each other `.arrive.relaxed`, which does not wait until what was written can be seen.
 */
export function clusterBarrier(): void {
  deviceOnly('clusterBarrier')
}

// ---- launches that overlap -----------------------------------------------------------------------------------------

/**
 * `griddepcontrol.launch_dependents`: lets the next kernel of the stream start, as far as room is, once all CTAs have
 * come here or ended.
 */
export function launchDependents(): void {
  deviceOnly('launchDependents')
}
/**
 * `griddepcontrol.wait`: waits until the previous kernel of the stream has ended and its writes are visible. A kernel that
 * calls it may be launched before its predecessor ends; nothing that the predecessor writes may be read before.
 */
export function waitForPrevious(): void {
  deviceOnly('waitForPrevious')
}
