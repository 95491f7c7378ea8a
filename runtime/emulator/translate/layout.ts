/**
 * The state of a warp between two calls of the warp function, in linear memory: a header, the uniform registers that
 * live across a barrier, then the register file, `[register][lane]`.
 */
export const header = {
  /** Lanes whose thread has not ended. */
  live: 0,
  /** Lanes that run at the current place; `regroup` leaves it here. */
  active: 4,
  /** What the warp waits at when the function returns a place to resume: barrier number and thread count (0: all). */
  barrier: 8,
  barrierThreads: 12,
  warp: 16,
  ctaid: 20,
  nctaid: 32,
  /** Linear-memory address of the CTA's shared window. */
  shared: 44,
  /** Linear-memory address of the parameter block. */
  params: 48,
  /** Where each lane waits while lanes are apart, 16 bits each. */
  lanePlaces: 64,
  /** `%tid` of each lane, for CTAs of more than one dimension: x, y, z. */
  tid: 128,
  bytes: 512,
} as const

/** What the warp function returns when all threads have ended; otherwise it returns the place to resume at. */
export const finished = -1

/** What `fault` is called with. */
export const faults = { divergentBarrier: 0, divergentCollective: 1, trap: 2 } as const

/** Module names of a translated module's imports: the memory and `fault(kind, instruction)`, and the checker's. */
export const environment = 'env'
export const checkModule = 'checks'
