/** Targets that the compiler knows. The first four run; the last three assemble on the `mma.sync` path. */
export type TargetName = 'sm_80' | 'sm_86' | 'sm_89' | 'sm_90a' | 'sm_100a' | 'sm_103a' | 'sm_120a'

export interface Target {
  readonly name: TargetName
  /** Compute capability times ten: 80, 86, 89, 90, 100, 103, 120. */
  readonly capability: number
  /** Shared memory that one CTA may use after opting in, in bytes. */
  readonly sharedBytes: number
  /** Registers that one thread may use. */
  readonly registersPerThread: number
}

/** Opt-in shared memory per CTA: CUDA C++ programming guide, table of technical specifications per capability. */
export const targets: Readonly<Record<TargetName, Target>> = {
  sm_80: { name: 'sm_80', capability: 80, sharedBytes: 166_912, registersPerThread: 255 },
  sm_86: { name: 'sm_86', capability: 86, sharedBytes: 101_376, registersPerThread: 255 },
  sm_89: { name: 'sm_89', capability: 89, sharedBytes: 101_376, registersPerThread: 255 },
  sm_90a: { name: 'sm_90a', capability: 90, sharedBytes: 232_448, registersPerThread: 255 },
  sm_100a: { name: 'sm_100a', capability: 100, sharedBytes: 232_448, registersPerThread: 255 },
  sm_103a: { name: 'sm_103a', capability: 103, sharedBytes: 232_448, registersPerThread: 255 },
  sm_120a: { name: 'sm_120a', capability: 120, sharedBytes: 101_376, registersPerThread: 255 },
}
