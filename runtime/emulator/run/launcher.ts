import { availableParallelism } from 'node:os'
import { windowStride } from '../translate/layout.ts'
import { Arena } from './arena.ts'
import { CopyEngine } from './copy-engine.ts'
import { CtaRunner, type WarpFunction } from './cta.ts'
import type { Heap } from './heap.ts'
import { instantiate } from './instance.ts'
import type { LoadedKernel } from './kernel.ts'
import type { LaunchRecord } from './launch.ts'
import { WorkerPool } from './pool.ts'

/** Waking workers costs about 0.05 ms a launch: shorter launches run on the calling thread alone. */
const worthSharingMs = 0.3
/** Workers start when the launches worth sharing have taken so long together. */
const worthStartingMs = 400

/** Runs unchecked launches, the long ones on several threads. */
export class Launcher {
  readonly arena = new Arena()
  private readonly heap: Heap
  private readonly warps = new Map<LoadedKernel, { warp: WarpFunction; engine: CopyEngine }>()
  /** Milliseconds that a CTA, or a cluster of them, takes on one thread. */
  private readonly msPerCta = new Map<LoadedKernel, number>()
  private readonly threads: number
  /** Whether the user asked for a number of threads: then every launch of several CTAs is shared. */
  private readonly always: boolean
  private pool: WorkerPool | undefined
  private sharedMs = 0

  constructor(heap: Heap, threads: number | undefined) {
    this.heap = heap
    this.always = threads !== undefined
    this.threads = threads ?? availableParallelism()
    if (this.always) this.startPool()
  }

  private startPool(): void {
    if (this.threads > 1) this.pool ??= new WorkerPool(this.threads - 1, this.heap)
  }

  /** Waits until the workers, if there are to be any, have started. */
  async started(): Promise<void> {
    this.startPool()
    while (this.pool && !this.pool.ready) {
      if (this.pool.problem) throw this.pool.problem
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  run(record: LaunchRecord, seed: number | undefined): void {
    const { fn, grid, params } = record
    const { loaded } = fn
    const { layout } = loaded
    if (this.arena.require(this.heap, layout.bytes)) this.warps.clear()
    const arena = this.arena.address
    this.heap.bytes(arena + layout.params, params.length).set(params)
    const plan = { grid, block: fn.program.block, layout, seed }
    const runner = new CtaRunner(plan, this.warpOf(loaded), this.heap.memory, arena)
    const count = (grid[0] * grid[1] * grid[2]) / loaded.cluster
    if (this.pool?.ready && this.isWorthSharing(loaded, count)) {
      this.pool.run(record, seed, runner)
      return
    }
    const start = performance.now()
    let cta = 0
    runner.runAll(count, () => cta++)
    this.note(loaded, count, performance.now() - start)
  }

  private isWorthSharing(loaded: LoadedKernel, count: number): boolean {
    if (count < 2) return false
    return this.always || (this.msPerCta.get(loaded) ?? 0) * count > worthSharingMs
  }

  private note(loaded: LoadedKernel, count: number, ms: number): void {
    this.msPerCta.set(loaded, ms / count)
    if (this.pool || count < 2 || ms < worthSharingMs) return
    this.sharedMs += ms
    if (this.sharedMs > worthStartingMs) this.startPool()
  }

  private warpOf(loaded: LoadedKernel): WarpFunction {
    let known = this.warps.get(loaded)
    if (!known) {
      const scratch = this.arena.address + loaded.layout.scratch
      const { memory } = this.heap
      const engine = new CopyEngine(memory, windowStride(loaded.sharedBytes))
      known = { warp: instantiate(loaded.module, memory, { scratch }, engine.imports), engine }
      this.warps.set(loaded, known)
    }
    known.engine.refresh()
    return known.warp
  }

  async close(): Promise<void> {
    await this.pool?.close()
  }
}
