/**
 * The contract between translated kernels and the checker.
 *
 * A checked launch runs on the calling thread. The translated kernel imports the functions of `CheckImports` (module
 * name of the translator's choice) and calls one per memory access, before the access itself, thread by thread in any
 * order. The emulator's driver calls `beginLaunch`, `beginCta`, the ordering calls, `endCta`, `endLaunch`.
 *
 * - `thread` is the linear index in the CTA; warp and lane follow from it (thread >> 5, thread & 31).
 * - Global addresses are device addresses, passed as f64 so that a wild 64-bit one arrives whole
 *   (`f64.convert_i64_u`). Shared addresses are i32 offsets into the CTA's shared window.
 * - `bytes` is the width of the whole access: 16 for `ld.v4.b32`.
 * - `site` indexes `LaunchInfo.sites`: one per PTX memory instruction.
 *
 * Out-of-bounds and misaligned accesses throw `DeviceError` from the import (the kernel is left at once); everything
 * else is collected, once per kind and pair of sites, and comes back in the `LaunchReport`.
 */
export interface CheckImports {
  /** Plain reads. */
  loadGlobal(address: number, bytes: number, thread: number, site: number): void
  loadShared(address: number, bytes: number, thread: number, site: number): void
  /** Plain writes. */
  storeGlobal(address: number, bytes: number, thread: number, site: number): void
  storeShared(address: number, bytes: number, thread: number, site: number): void
  /** `atom`, `red`, and `ld`/`st` with .volatile, .relaxed, .acquire or .release: they do not race with each other. */
  atomicGlobal(address: number, bytes: number, thread: number, site: number): void
  atomicShared(address: number, bytes: number, thread: number, site: number): void
  /**
   * `cp.async`: `bytes` of shared memory at `dst` become pending until the thread waits for the group; `sourceBytes`
   * of them are read from global memory at `src`, the others are zeros.
   */
  asyncCopy(dst: number, src: number, bytes: number, sourceBytes: number, thread: number, site: number): void
  /** `cp.async.commit_group`. */
  commitGroup(thread: number): void
  /** `cp.async.wait_group pending`; `wait_all` is `pending` 0 after a commit. */
  waitGroup(thread: number, pending: number): void
  /** `mbarrier.init`, `.arrive` and `.arrive.expect_tx`; `address` is one of linear memory. */
  initBarrier(address: number, count: number, thread: number, site: number): void
  arriveBarrier(address: number, count: number, thread: number, site: number): void
  arriveExpecting(address: number, bytes: number, thread: number, site: number): void
  /** `mbarrier.try_wait.parity`: 1 where the thread must wait, 0 where the phase is complete. */
  waitPhase(address: number, parity: number, thread: number, site: number): number
  /** `cp.async.bulk.commit_group` and `.wait_group`; `read` is 1 where the sources alone matter. */
  commitBulk(thread: number): void
  waitBulk(thread: number, pending: number, read: number): void
  /** `fence.*.gpu`, `membar.gl` and wider: with a following or preceding atomic it orders CTAs. */
  fenceGlobal(thread: number): void
  /** `griddepcontrol.wait` and `.launch_dependents`. */
  waitForPrevious(thread: number): void
  launchDependents(thread: number): void
  /** `fence.mbarrier_init`. */
  fenceBarrierInit(thread: number): void
  /** `fence.proxy.async`. */
  fenceProxy(thread: number): void
  /** `ldmatrix`: thread `thread` provides the address of one 16-byte row. Call per row, all rows of a matrix in order. */
  matrixRow(address: number, thread: number, site: number): void
  /** `bar.warp.sync`. Shuffles, votes and `mma` order no memory, so they do not count. */
  warpSync(warp: number): void
  /** A thread loop between two suspension points ended: closes the memory requests counted so far. */
  endRegion(): void
  /** An instruction that the warps of a warpgroup must all execute (`setmaxnreg`), by the warp of `thread`. */
  warpgroupStep(thread: number, site: number): void
  /** An instruction other than a product uses a register of `LaunchInfo.products`. */
  registerAccess(thread: number, register: number, site: number): void
  wgmmaFence(thread: number, site: number): void
  /** `wgmma.mma_async`, with its matrix descriptors (A's is 0 for registers) and the address of the shared window. */
  wgmmaProduct(thread: number, a: bigint, b: bigint, window: number, site: number): void
  wgmmaCommit(thread: number, site: number): void
  wgmmaWait(thread: number, pending: number, site: number): void
}

/** A register that a product uses. */
export interface TrackedRegister {
  readonly id: number
  readonly name: string
}

/** What a `wgmma.mma_async` uses beside shared memory. */
export interface WgmmaProduct {
  readonly d: readonly TrackedRegister[]
  /** Empty where A lies in shared memory. */
  readonly a: readonly TrackedRegister[]
  readonly columns: number
}

/** A PTX instruction that a report may name. */
export interface Site {
  /** `ld.global.v4.b32`, as the PTX text spells it. */
  readonly opcode: string
  /** Line of the PTX text, from 1. */
  readonly line: number
  /** `file.ts:12`, from the `.loc` in force, where there is one. */
  readonly location: string | undefined
}

export interface LaunchInfo {
  readonly kernel: string
  readonly sites: readonly Site[]
  readonly grid: readonly [number, number, number]
  readonly block: readonly [number, number, number]
  /** CTAs of a cluster. */
  readonly cluster: number
  /** Whether the launch may begin before its predecessor has ended. */
  readonly overlaps: boolean
  /** The CTA's shared window, static and dynamic. */
  readonly sharedBytes: number
  /** By site. */
  readonly products?: ReadonlyMap<number, WgmmaProduct>
}

export type FindingKind =
  | 'out-of-bounds'
  | 'use-after-free'
  | 'misaligned'
  | 'uninitialised'
  | 'race'
  | 'pending-copy'
  | 'early-dependent'
  | 'early-refill'
  | 'unawaited-copy'
  | 'barrier-init'
  | 'barrier-arrivals'
  | 'barrier-bytes'
  | 'barrier-parity'
  | 'peer-lifetime'
  | 'tensor-map'
  | 'overwritten-tile'
  | 'proxy-fence'
  | 'wgmma-in-flight'
  | 'wgmma-fence'
  | 'wgmma-wait'
  | 'divergent-warpgroup'

/** One thing that a GPU may forgive and should not. */
export interface Finding {
  readonly kind: FindingKind
  readonly space: 'global' | 'shared' | 'registers'
  /** A full sentence, with the address, both threads and both locations. */
  readonly message: string
  readonly site: Site
  /** The earlier access of a race. */
  readonly otherSite?: Site
  /** How often the same kind happened at the same sites. */
  count: number
}

/** What the memory requests of one instruction cost, summed over the launch. A request is one warp's execution. */
export interface SiteCounters {
  readonly site: Site
  readonly space: 'global' | 'shared'
  /** Warp-level requests. */
  requests: number
  /** Global: 32-byte sectors touched, and the fewest that would hold the bytes asked for. */
  sectors: number
  idealSectors: number
  /** Shared: passes through the 32 banks, and the passes beyond those that the width alone needs. */
  wavefronts: number
  bankConflicts: number
}

export interface LaunchReport {
  readonly kernel: string
  readonly findings: readonly Finding[]
  /** Sites with at least one request, by site index. */
  readonly memory: readonly SiteCounters[]
  /** Thread-level executions by class, from `countInstruction`. */
  readonly instructions: Readonly<Record<string, number>>
  /** Bytes that the copy engine moved, by direction: `global to shared`, `shared to global`, `added to global`. */
  readonly copiedBytes: Readonly<Record<string, number>>
}

/** What the emulator's device and its launch driver call. */
export interface Checks {
  readonly imports: CheckImports

  /** Device memory came to life; its bytes are uninitialised. Leave at least 256 bytes between allocations. */
  allocated(address: number, bytes: number): void
  freed(address: number): void
  /** The host wrote or filled these bytes. */
  initialised(address: number, bytes: number): void
  /** The host copied device memory; what was uninitialised stays so. */
  copied(dst: number, src: number, bytes: number): void

  beginLaunch(launch: LaunchInfo): void
  /**
   * Clusters run one after the other. `first` is the linear index of a cluster's first CTA in the grid, `window` the
   * address of its shared window.
   */
  beginCluster(first: number, window: number): void
  /** The threads of a CTA, by its rank in the cluster, go on: those that the imports speak of. */
  enter(rank: number): void
  /** All threads of the CTA passed `bar.sync` (`barrier.cta.sync`) with the default count. */
  barrier(rank: number): void
  /** A warp arrives at a named barrier (0 to 15) or the cluster's (-1): what it did is visible to those that pass it. */
  arrive(key: number, rank: number, warp: number): void
  /** A warp passes the barrier: it sees what the warps that arrived did. */
  pass(key: number, rank: number, warp: number): void
  /** Adds executions of an instruction, one per thread, to the counts by class. */
  countInstruction(opcode: string, executions: number): void
  /** Asynchronous copies may end. Tells whether one did; `must` asks for one, because nobody can go on. */
  land(must: boolean): boolean
  endCluster(): void
  /** Also to be called when the kernel threw; the report then holds what was found before. */
  endLaunch(): LaunchReport
}
