import { DeviceError } from '../../device.ts'
import type { Instruction, Kernel } from '../ptx/module.ts'
import { faults, finished, header } from '../translate/layout.ts'
import type { WasmMemory } from '../wasm/host.ts'
import type { ArenaLayout } from './arena.ts'

/** What running a kernel's CTAs needs to know; plain data, so that workers get it by message. */
export interface CtaPlan {
  readonly grid: readonly [number, number, number]
  readonly block: readonly [number, number, number]
  readonly layout: ArenaLayout
  /** Order of warps between barriers: a seed, or `undefined` for their own order. */
  readonly seed: number | undefined
}

/** Told about the order of events in a checked launch. */
export interface Observer {
  beginCta(cta: number): void
  barrier(): void
  arrive(key: number, warp: number): void
  pass(key: number, warp: number): void
  endCta(): void
}

export type WarpFunction = (state: number, resume: number) => number

const done = -1
const ready = 0

/** Something that a kernel must not do, found by the translated code or by the schedule. */
export class KernelFault extends Error {
  readonly code: string
  readonly instruction: number | undefined
  constructor(code: string, message: string, instruction?: number) {
    super(message)
    this.code = code
    this.instruction = instruction
  }
}

/** The import through which translated code reports a fault. */
export function faultImport(kind: number, instruction: number): never {
  if (kind === faults.divergentBarrier)
    throw new KernelFault(
      'EMULATOR_DIVERGENT_BARRIER',
      'only some of the warp’s threads arrive at the barrier; the others took another branch',
      instruction,
    )
  if (kind === faults.divergentCollective)
    throw new KernelFault(
      'EMULATOR_DIVERGENT_COLLECTIVE',
      'the lanes that execute it are not those that its mask asks for',
      instruction,
    )
  throw new KernelFault('EMULATOR_TRAP', 'the kernel executed trap', instruction)
}

/** Runs the CTAs of one launch on the calling thread, one after the other. */
export class CtaRunner {
  private readonly plan: CtaPlan
  private readonly warp: WarpFunction
  private readonly words: Int32Array
  private readonly base: number
  private readonly observer: Observer | undefined
  private readonly warps: number
  private readonly threads: number
  private readonly resume: Int32Array
  /** Barrier number plus one, `ready` or `done`. */
  private readonly status: Int32Array
  private readonly order: Int32Array
  private random = 1

  constructor(plan: CtaPlan, warp: WarpFunction, memory: WasmMemory, arena: number, observer?: Observer) {
    this.plan = plan
    this.warp = warp
    this.words = new Int32Array(memory.buffer)
    this.base = arena
    this.observer = observer
    const [x, y, z] = plan.block
    this.threads = x * y * z
    this.warps = Math.ceil(this.threads / 32)
    this.resume = new Int32Array(this.warps)
    this.status = new Int32Array(this.warps)
    this.order = Int32Array.from({ length: this.warps }, (_, i) => i)
    for (let warp = 0; warp < this.warps; warp++) this.prepareWarp(warp)
  }

  private state(warp: number): number {
    const { layout } = this.plan
    return this.base + layout.states + warp * layout.stateBytes
  }

  /** What stays the same for all CTAs of the launch. */
  private prepareWarp(warp: number): void {
    const { words, plan } = this
    const at = this.state(warp) >> 2
    words[at + (header.warp >> 2)] = warp
    words[at + (header.shared >> 2)] = this.base + plan.layout.shared
    words[at + (header.params >> 2)] = this.base + plan.layout.params
    for (let i = 0; i < 3; i++) words[at + (header.nctaid >> 2) + i] = plan.grid[i]!
    const [x, y] = plan.block
    for (let lane = 0; lane < 32; lane++) {
      const thread = warp * 32 + lane
      words[at + (header.tid >> 2) + lane] = thread % x
      words[at + (header.tid >> 2) + 32 + lane] = Math.floor(thread / x) % y
      words[at + (header.tid >> 2) + 64 + lane] = Math.floor(thread / (x * y))
    }
  }

  /** Runs the CTAs that `next` hands out until it is past the last. */
  runAll(count: number, next: () => number): void {
    for (let cta = next(); cta < count; cta = next()) this.run(cta)
  }

  /** Runs the CTA of a linear index, x fastest. */
  private run(cta: number): void {
    const { warps, words, status, resume, plan, observer } = this
    const [gx, gy] = plan.grid
    const x = cta % gx
    const y = Math.floor(cta / gx) % gy
    const z = Math.floor(cta / (gx * gy))
    for (let warp = 0; warp < warps; warp++) {
      const at = this.state(warp) >> 2
      const lanes = Math.min(32, this.threads - warp * 32)
      words[at + (header.live >> 2)] = lanes === 32 ? -1 : (1 << lanes) - 1
      words[at + (header.ctaid >> 2)] = x
      words[at + (header.ctaid >> 2) + 1] = y
      words[at + (header.ctaid >> 2) + 2] = z
      status[warp] = ready
      resume[warp] = 0
    }
    if (plan.seed !== undefined) {
      // A CTA's schedule depends on the seed and its own number, whatever ran before it on this thread.
      this.random = Math.imul(plan.seed + cta, 0x85ebca6b) | 1
      for (let warp = 0; warp < warps; warp++) this.order[warp] = warp
    }
    observer?.beginCta(cta)
    let running = warps
    while (running > 0) {
      if (plan.seed !== undefined) this.shuffle()
      for (let i = 0; i < warps; i++) {
        const warp = this.order[i]!
        if (status[warp] !== ready) continue
        const state = this.state(warp)
        const next = this.warp(state, resume[warp]!)
        if (next === finished) {
          status[warp] = done
          running--
        } else {
          resume[warp] = next
          const barrier = words[(state + header.barrier) >> 2]!
          status[warp] = barrier + 1
          if (observer && words[(state + header.barrierThreads) >> 2] !== 0) observer.arrive(barrier, warp)
        }
      }
      if (running > 0) this.openBarriers(running)
    }
    observer?.endCta()
  }

  /** Lets those warps go on whose barrier is complete. */
  private openBarriers(running: number): void {
    const { warps, status, words, observer } = this
    let opened = 0
    // Barrier numbers are 0 to 15.
    let waiting = 0
    for (let warp = 0; warp < warps; warp++) if (status[warp] !== done) waiting |= 1 << (status[warp]! - 1)
    for (; waiting !== 0; waiting &= waiting - 1) {
      const barrier = 31 - Math.clz32(waiting & -waiting)
      let arrived = 0
      let threads = 0
      for (let warp = 0; warp < warps; warp++) {
        if (status[warp] !== barrier + 1) continue
        arrived++
        threads = words[(this.state(warp) + header.barrierThreads) >> 2]!
      }
      if (arrived < (threads === 0 ? running : Math.ceil(threads / 32))) continue
      for (let warp = 0; warp < warps; warp++) {
        if (status[warp] !== barrier + 1) continue
        status[warp] = ready
        opened++
        if (threads !== 0) observer?.pass(barrier, warp)
      }
      if (threads === 0) observer?.barrier()
    }
    if (opened === 0)
      throw new KernelFault(
        'EMULATOR_DIVERGENT_BARRIER',
        `${running} warps wait at barriers that the other warps never reach`,
      )
  }

  /** A new order of the warps (Fisher and Yates), from a xorshift generator. */
  private shuffle(): void {
    const { order } = this
    for (let i = order.length - 1; i > 0; i--) {
      this.random ^= this.random << 13
      this.random ^= this.random >>> 17
      this.random ^= this.random << 5
      const j = (this.random >>> 0) % (i + 1)
      const swap = order[i]!
      order[i] = order[j]!
      order[j] = swap
    }
  }
}

/** The error that the device reports for what a kernel threw. */
export function describeFailure(kernel: Kernel, failure: unknown): DeviceError {
  if (failure instanceof DeviceError) return failure
  if (failure instanceof KernelFault) {
    const instruction: Instruction | undefined =
      failure.instruction === undefined ? undefined : kernel.instructions[failure.instruction]
    const location = instruction?.location && `${instruction.location.file}:${instruction.location.line}`
    const where = instruction
      ? `${location ? `${location}, ` : ''}PTX line ${instruction.line}, '${instruction.text}': `
      : ''
    return new DeviceError(failure.code, `kernel ${kernel.name}: ${where}${failure.message}.`, {
      kernel: kernel.name,
      location,
    })
  }
  if (failure instanceof Error && failure.name === 'RuntimeError') {
    const outside = /out of bounds|unaligned/.test(failure.message)
    return new DeviceError(
      outside ? 'EMULATOR_OUT_OF_BOUNDS' : 'EMULATOR_TRAP',
      `kernel ${kernel.name}: ${failure.message}. Run it on the device 'emulator:checked' to see the line.`,
      { kernel: kernel.name },
    )
  }
  const { message } = failure as Error
  const error = new DeviceError('EMULATOR_BUG', `kernel ${kernel.name}: the emulator failed: ${message}`, {
    kernel: kernel.name,
  })
  return Object.assign(error, { cause: failure })
}
