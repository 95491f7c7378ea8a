import type { Program } from '../../codegen/program.ts'
import { type Target, type TargetName, targets } from '../../codegen/target.ts'
import { bytesOf } from '../bytes.ts'
import {
  type Device,
  DeviceError,
  type DeviceFunction,
  type DeviceMemory,
  type DeviceProperties,
  type DeviceRange,
  type Event,
  type Graph,
  type LaunchArgument,
  type LaunchShape,
  type PinnedMemory,
  type PreparedLaunch,
  type Stream,
} from '../device.ts'
import type { LaunchReport } from './checks/interface.ts'
import { CheckedLauncher } from './run/checked-launch.ts'
import { describeFailure } from './run/fault.ts'
import { Heap } from './run/heap.ts'
import { type EmulatorFunction, fetchKernel, loadKernel } from './run/kernel.ts'
import { EmulatorLaunch, type LaunchRecord } from './run/launch.ts'
import { Launcher } from './run/launcher.ts'
import { type TranslationStore, translationStore } from './run/translation-store.ts'

export interface EmulatorOptions {
  /** Reports what a GPU forgives: slower by far. Default: off. */
  readonly checks?: boolean
  /** Order of the warps of a CTA between barriers. Default: `in-order`. */
  readonly schedule?: 'in-order' | 'shuffled'
  /** Of the shuffled schedule. */
  readonly seed?: number
  /**
   * Threads that run CTAs, the calling one included. Default: as many as the machine has, started once launches take
   * long enough to gain from it. Checked launches take one.
   */
  readonly workers?: number
  /** The target whose limits the emulator has. Default: `sm_90a`. */
  readonly target?: TargetName
  /** Device memory in bytes, at most 4 GiB less 64 KiB (the default). */
  readonly memoryBytes?: number
  /** Where translated kernels are kept. Default: the user's cache folder. */
  readonly translations?: TranslationStore
}

const maxMemoryBytes = 2 ** 32 - 2 ** 16

/** Opens the PTX emulator: a device on the CPU. Its memory is its own; several may be open. */
export function openEmulator(options: EmulatorOptions = {}): EmulatorDevice {
  return new EmulatorDevice(options)
}

/** Runs kernels when they are enqueued; what goes wrong is reported by the next wait, once. */
export class EmulatorDevice implements Device {
  readonly name = 'emulator'
  readonly properties: DeviceProperties
  readonly target: Target
  readonly #options: EmulatorOptions
  readonly #heap: Heap
  readonly #functions = new Map<Program, EmulatorFunction>()
  readonly #launcher: Launcher
  readonly #checked: CheckedLauncher | undefined
  readonly #pinned = new WeakSet<ArrayBufferLike>()
  #failure: DeviceError | undefined
  #recording: { stream: Stream; work: (() => void)[] } | undefined
  #launches = 0
  #closed = false

  constructor(options: EmulatorOptions) {
    this.#options = options
    this.target = targets[options.target ?? 'sm_90a']
    const memoryBytes = Math.min(options.memoryBytes ?? maxMemoryBytes, maxMemoryBytes)
    this.#heap = new Heap(memoryBytes)
    this.#launcher = new Launcher(this.#heap, options.checks ? 1 : options.workers)
    if (options.checks) this.#checked = new CheckedLauncher(this.#heap)
    this.properties = {
      description: 'PTX emulator',
      multiprocessors: 1,
      memoryBytes,
      l2Bytes: 0,
      sharedBytesPerBlock: this.target.sharedBytes,
      driver: null,
    }
  }

  freeBytes(): number {
    return this.#heap.unused
  }

  allocate(bytes: number): DeviceMemory {
    this.#requireOpen()
    const heap = this.#heap
    const checker = this.#checked?.checker
    const address = heap.allocate(bytes)
    checker?.allocated(address, bytes)
    let freed = false
    return {
      address,
      bytes,
      free() {
        if (freed) return
        freed = true
        checker?.freed(address)
        heap.free(address)
      },
    }
  }

  allocatePinned(bytes: number): PinnedMemory {
    const view = new Uint8Array(bytes)
    this.#pinned.add(view.buffer)
    return { bytes, view, free() {} }
  }

  write(dst: DeviceRange, src: ArrayBufferView, stream?: Stream): void {
    this.#checkRange(dst, src.byteLength, 'write')
    const recorded = this.#recording?.stream === stream && !this.#pinned.has(src.buffer)
    const live = bytesOf(src)
    const bytes = recorded ? live.slice() : live
    this.#enqueue(stream, () => {
      this.#heap.bytes(dst.address, bytes.length).set(bytes)
      this.#checked?.checker.initialised(dst.address, bytes.length)
    })
  }

  async read(dst: ArrayBufferView, src: DeviceRange, stream?: Stream): Promise<void> {
    this.#checkRange(src, dst.byteLength, 'read')
    if (stream !== undefined && this.#recording?.stream === stream)
      throw new DeviceError('INVALID_CAPTURE', 'what a graph records must be enqueued without waiting')
    this.#report()
    const bytes = bytesOf(dst)
    bytes.set(this.#heap.bytes(src.address, bytes.length))
  }

  copy(dst: DeviceRange, src: DeviceRange, stream?: Stream): void {
    this.#checkRange(dst, src.bytes, 'copy')
    this.#checkRange(src, src.bytes, 'copy')
    this.#enqueue(stream, () => {
      this.#heap.bytes(dst.address, src.bytes).set(this.#heap.bytes(src.address, src.bytes))
      this.#checked?.checker.copied(dst.address, src.address, src.bytes)
    })
  }

  fill(dst: DeviceRange, byte: number, stream?: Stream): void {
    this.#checkRange(dst, dst.bytes, 'fill')
    this.#enqueue(stream, () => {
      this.#heap.bytes(dst.address, dst.bytes).fill(byte)
      this.#checked?.checker.initialised(dst.address, dst.bytes)
    })
  }

  load(program: Program): EmulatorFunction {
    this.#requireOpen()
    let fn = this.#functions.get(program)
    if (!fn) {
      const loaded = loadKernel(program, this.#options.checks ?? false)
      if (program.sharedBytes > this.target.sharedBytes)
        throw new DeviceError(
          'INVALID_LAUNCH',
          `kernel ${program.name} needs ${program.sharedBytes} bytes of shared memory; ${this.target.name} has ${this.target.sharedBytes}`,
          { kernel: program.name },
        )
      fn = { program, loaded, resources: null }
      this.#functions.set(program, fn)
    }
    return fn
  }

  async loadAll(programs: readonly Program[]): Promise<EmulatorFunction[]> {
    // What checks make of a kernel is for tests, and is not kept.
    const store = this.#options.checks ? null : (this.#options.translations ?? translationStore())
    for (const program of programs) if (!this.#functions.has(program)) await fetchKernel(program, store)
    return programs.map((program) => this.load(program))
  }

  prepareLaunch(fn: DeviceFunction, launch: LaunchShape, args: readonly LaunchArgument[]): PreparedLaunch {
    const own = this.#functions.get(fn.program)
    if (own !== fn)
      throw new DeviceError('WRONG_DEVICE', `kernel ${fn.program.name} was not loaded on ${this.name}`)
    return new EmulatorLaunch(own, launch, args, (record, stream) => {
      if (this.#recording !== undefined && this.#recording.stream === stream) {
        const copy = { ...record, params: record.params.slice() }
        this.#enqueue(stream, () => this.#launch(copy))
      } else this.#enqueue(stream, () => this.#launch(record))
    })
  }

  createStream(): Stream {
    return { synchronize: () => this.synchronize(), wait: () => {}, destroy: () => {} }
  }

  createEvent(): Event {
    return new EmulatorEvent(this)
  }

  capture(enqueue: (stream: Stream) => void): Graph {
    const stream = this.createStream()
    const work: (() => void)[] = []
    const outer = this.#recording
    this.#recording = { stream, work }
    try {
      const returned: unknown = enqueue(stream)
      if (returned instanceof Promise) {
        returned.catch(() => {})
        throw new DeviceError('INVALID_CAPTURE', 'what a graph records must be enqueued without waiting')
      }
    } finally {
      this.#recording = outer
    }
    return {
      launch: (on?: Stream) => {
        for (const step of work) this.#enqueue(on, step)
      },
      destroy: () => {},
    }
  }

  async synchronize(): Promise<void> {
    this.#report()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#functions.clear()
    await this.#launcher.close()
  }

  #requireOpen(): void {
    if (this.#closed) throw new DeviceError('CLOSED', 'the emulator was closed')
  }

  #checkRange(range: DeviceRange, bytes: number, verb: string): void {
    this.#requireOpen()
    if (bytes > range.bytes)
      throw new DeviceError('INVALID_ARGUMENT', `cannot ${verb} ${bytes} bytes: the range has ${range.bytes}`)
    if (!this.#heap.contains(range.address, bytes))
      throw new DeviceError(
        'INVALID_ARGUMENT',
        `cannot ${verb} ${bytes} bytes: address ${range.address} is not in device memory`,
      )
  }

  /** Runs work in order; after a failure nothing runs until it was reported. */
  #enqueue(stream: Stream | undefined, work: () => void): void {
    this.#requireOpen()
    if (this.#recording !== undefined && this.#recording.stream === stream) this.#recording.work.push(work)
    else if (!this.#failure) work()
  }

  #report(): void {
    const failure = this.#failure
    this.#failure = undefined
    if (failure) throw failure
  }

  /** What the launches since the last call did, with checks: findings, memory requests, instructions by class. */
  takeReports(): readonly LaunchReport[] {
    const reports = this.#checked?.reports ?? []
    if (this.#checked) this.#checked.reports = []
    return reports
  }

  /** Waits until the threads that `workers` asks for, or the machine has, can take launches. */
  workersStarted(): Promise<void> {
    return this.#launcher.started()
  }

  #launch(record: LaunchRecord): void {
    const { schedule, seed = 1 } = this.#options
    const shuffled = schedule === 'shuffled' ? Math.imul(seed + this.#launches, 0x9e3779b1) : undefined
    this.#launches++
    try {
      if (this.#checked) this.#checked.run(record, shuffled)
      else this.#launcher.run(record, shuffled)
    } catch (error) {
      this.#failure = describeFailure(record.fn.loaded.kernel, error)
    }
  }
}

class EmulatorEvent implements Event {
  /** Work runs when it is enqueued. */
  readonly done = true
  readonly #device: EmulatorDevice
  #time: number | undefined

  constructor(device: EmulatorDevice) {
    this.#device = device
  }
  record(): void {
    this.#time = performance.now()
  }
  synchronize(): Promise<void> {
    return this.#device.synchronize()
  }
  elapsedSince(earlier: Event): number {
    if (!(earlier instanceof EmulatorEvent) || this.#time === undefined || earlier.#time === undefined)
      throw new DeviceError('INVALID_ARGUMENT', 'both events must have been recorded')
    return this.#time - earlier.#time
  }
  destroy(): void {}
}
