/**
 * The state of a warp between two calls of the warp function, in linear memory: a header, the uniform registers that
 * live across a barrier, then the register file, `[register][lane]`.
 */
export const header = {
  /** Lanes whose thread has not ended. */
  live: 0,
  /** Lanes that run at the current place: of a warp that waits, those that wait. */
  active: 4,
  /**
   * What the warp waits for when the function returns a place to resume (`waits`): a barrier's number and thread count
   * (0: all), or an mbarrier's address and parity.
   */
  barrier: 8,
  barrierThreads: 12,
  warp: 16,
  ctaid: 20,
  nctaid: 32,
  /** Linear-memory address of the CTA's shared window. */
  shared: 44,
  /** Linear-memory address of the parameter block. */
  params: 48,
  /** The CTA's rank in its cluster. */
  clusterRank: 52,
  /** Which of `waits`, and the number of the instruction. */
  wait: 56,
  waitInstruction: 60,
  /** Where each lane waits while lanes are apart, 16 bits each. */
  lanePlaces: 64,
  /** `%tid` of each lane, for CTAs of more than one dimension: x, y, z. */
  tid: 128,
  bytes: 512,
} as const

/** What the warp function returns when all threads have ended; otherwise it returns the place to resume at. */
export const finished = -1

/** Why the warp function returned: `bar.sync`, `bar.arrive`, `mbarrier.try_wait`, `barrier.cluster.arrive` and `.wait`. */
export const waits = { barrier: 0, barrierArrival: 1, phase: 2, clusterArrival: 3, cluster: 4 } as const

/** Distance between the shared windows of neighbours in a cluster; keeps the alignment that swizzled tiles need. */
export function windowStride(sharedBytes: number): number {
  return Math.ceil(Math.max(sharedBytes, 1) / 1024) * 1024
}

/** What `fault` is called with. */
export const faults = {
  divergentBarrier: 0,
  divergentCollective: 1,
  trap: 2,
  partialWarp: 3,
  partialWarpgroup: 4,
  misplacedMatrix: 5,
  differingLanes: 6,
} as const

/** Module names of a translated module's imports: the memory and `fault(kind, instruction)`, the copy engine, the checker. */
export const environment = 'env'
export const copyModule = 'copies'
export const checkModule = 'checks'
