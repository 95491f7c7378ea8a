import type { Program } from '../codegen/program.ts'
import type { Target } from '../codegen/target.ts'
import type { DType } from '../dsl/dtype.ts'

/**
 * A place where compiled kernels run: a CUDA GPU, or the PTX emulator on the CPU.
 *
 * Work is ordered within a stream and asynchronous to the host. Everything that can fail at enqueue time throws; what
 * fails while running surfaces at the next `synchronize`, `read` or event wait, as a `DeviceError`.
 */
export interface Device {
  /** `cuda:0`, `cuda:1`, … or `emulator`. */
  readonly name: string
  readonly properties: DeviceProperties
  /** The target that programs for this device are compiled for. */
  readonly target: Target

  /** Bytes that can still be allocated, what others use counted. */
  freeBytes(): number
  /** Device memory, aligned to 256 bytes, its content undefined. Throws `DeviceError` when there is not enough. */
  allocate(bytes: number): DeviceMemory
  /** Host memory that copies to and from the device at full speed; an ordinary `ArrayBuffer` on the emulator. */
  allocatePinned(bytes: number): PinnedMemory

  /** Enqueues a copy from the host. `src` may be reused as soon as the call returns unless it is pinned. */
  write(dst: DeviceRange, src: ArrayBufferView, stream?: Stream): void
  /** Copies to the host and waits for it without blocking the event loop. */
  read(dst: ArrayBufferView, src: DeviceRange, stream?: Stream): Promise<void>
  copy(dst: DeviceRange, src: DeviceRange, stream?: Stream): void
  /** Sets every byte. */
  fill(dst: DeviceRange, byte: number, stream?: Stream): void

  /** Loads a program (once per program; later calls return the same function). Throws with the JIT log on failure. */
  load(program: Program): DeviceFunction
  /** `load` of several programs: compiled at once, without blocking the event loop, or taken from the cache on disk. */
  loadAll(programs: readonly Program[]): Promise<DeviceFunction[]>

  /** Builds a launch whose argument block is packed once. */
  prepareLaunch(fn: DeviceFunction, launch: LaunchShape, args: readonly LaunchArgument[]): PreparedLaunch

  createStream(): Stream
  createEvent(): Event
  /** Records what `enqueue` launches into a graph instead of running it. */
  capture(enqueue: (stream: Stream) => void): Graph

  /** Waits for all streams without blocking the event loop. */
  synchronize(): Promise<void>
  /** Frees everything; the device cannot be used afterwards. */
  close(): Promise<void>
}

export interface DeviceProperties {
  /** As the driver names it (`NVIDIA H200`); `PTX emulator` otherwise. */
  readonly description: string
  readonly multiprocessors: number
  readonly memoryBytes: number
  readonly l2Bytes: number
  readonly sharedBytesPerBlock: number
  /** CUDA driver version as `13.0`, or `null` on the emulator. */
  readonly driver: string | null
}

/** A range of device memory. `address` is the device's own; arithmetic on it is the caller's business. */
export interface DeviceRange {
  readonly address: number
  readonly bytes: number
}

export interface DeviceMemory extends DeviceRange {
  free(): void
}

export interface PinnedMemory {
  readonly bytes: number
  readonly view: Uint8Array
  free(): void
}

export interface DeviceFunction {
  readonly program: Program
  /** What the driver's compiler used; `null` on the emulator. */
  readonly resources: {
    readonly registers: number
    readonly localBytes: number
    readonly sharedBytes: number
  } | null
}

export interface LaunchShape {
  readonly grid: readonly [number, number, number]
  /**
   * Lets the launch begin before its predecessor in the stream has ended (programmatic dependent launch). Only for
   * programs with `overlaps`; default: what `program.overlaps` says. The emulator runs launches one after the other.
   */
  readonly overlap?: boolean
}

/** One value per entry of `program.params`, in order: an address, a 32-bit scalar by its dtype, or a tensor map. */
export type LaunchArgument = number | TensorMap

/** What a device encodes into the 128 bytes of a `tensorMap` parameter: a tensor, innermost dimension first. */
export interface TensorMap {
  readonly address: number
  readonly dtype: DType
  /** Elements of each dimension, two or three. */
  readonly extents: readonly number[]
  /** Bytes from one index to the next of each dimension but the first, whose elements are neighbours. */
  readonly strides: readonly number[]
  /** Elements that one copy takes along each dimension. */
  readonly box: readonly number[]
  readonly swizzle: 0 | 32 | 64 | 128
}

export interface PreparedLaunch {
  readonly fn: DeviceFunction
  /** Enqueues the launch on `stream` (default: the device's default stream). */
  run(stream?: Stream): void
  /** Replaces the argument at `index` of `program.params` in the packed block. */
  setArgument(index: number, value: LaunchArgument): void
  /** Replaces the grid of later runs. */
  setGrid(grid: readonly [number, number, number]): void
}

export interface Stream {
  synchronize(): Promise<void>
  wait(event: Event): void
  destroy(): void
}

export interface Event {
  /** Whether everything before it has run; true of one that was never recorded. */
  readonly done: boolean
  record(stream?: Stream): void
  synchronize(): Promise<void>
  /** Milliseconds from `earlier` to this event; both must have completed. */
  elapsedSince(earlier: Event): number
  destroy(): void
}

export interface Graph {
  launch(stream?: Stream): void
  destroy(): void
}

/** The device or its driver failed: out of memory, a fault in a kernel, a lost context. */
export class DeviceError extends Error {
  override readonly name: string = 'DeviceError'
  /** The driver's name of the error (`CUDA_ERROR_ILLEGAL_ADDRESS`), or the emulator's own. */
  readonly code: string
  /** The kernel at fault, where known. */
  readonly kernel: string | undefined
  /** `file:line` in the kernel's TypeScript source, where known. */
  readonly location: string | undefined
  constructor(code: string, message: string, where: { kernel?: string; location?: string } = {}) {
    super(message)
    this.code = code
    this.kernel = where.kernel
    this.location = where.location
  }
}
