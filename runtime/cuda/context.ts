import { DeviceError } from '../device.ts'
import { type Driver, handleIn } from './driver.ts'
import { cudaResult, DriverError } from './errors.ts'
import type { CudaFunction } from './module.ts'

/** Something that lives in a context and goes with it. */
export interface Resource {
  /** Gives it back to the driver; errors are the context's to ignore when it closes. */
  release(): void
}

/** A stream, as the context sees it. */
export interface Queue {
  /** What it may still be running, for faults that surface only later. */
  readonly launched: ReadonlySet<CudaFunction>
  synchronize(): Promise<void>
}

/** A handle that the driver gave: using it after it was taken back would crash the process, and is an error here. */
export class Handle {
  #value: number
  readonly #noun: string

  constructor(value: number, noun: string) {
    this.#value = value
    this.#noun = noun
  }

  get value(): number {
    if (this.#value === 0) throw new DeviceError('DESTROYED', `the ${this.#noun} was destroyed`)
    return this.#value
  }

  /** The handle, for giving it back. */
  take(): number {
    const { value } = this
    this.#value = 0
    return value
  }
}

/** A GPU's primary context: makes itself current, checks results, and owns everything made in it. */
export class Context {
  readonly driver: Driver
  readonly ordinal: number
  readonly name: string
  /** The `CUcontext`. */
  readonly handle: number
  readonly #resources = new Set<Resource>()
  readonly #queues = new Set<Queue>()
  #lost: DriverError | undefined
  #closed = false

  constructor(driver: Driver, ordinal: number) {
    this.driver = driver
    this.ordinal = ordinal
    this.name = `cuda:${ordinal}`
    const out = new BigUint64Array(1)
    const result = driver.cuDevicePrimaryCtxRetain(out, ordinal)
    if (result !== cudaResult.success) throw new DriverError(driver, result, `opening ${this.name}`)
    this.handle = handleIn(out)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Makes the context current on this thread; to be called before every use of the driver. */
  enter(): Driver {
    if (this.#closed) throw new DeviceError('CLOSED', `${this.name} is closed`)
    const { driver } = this
    if (driver.current !== this.handle) {
      driver.current = 0
      const result = driver.cuCtxSetCurrent(this.handle)
      if (result !== cudaResult.success) this.fail(result, `using ${this.name}`)
      driver.current = this.handle
    }
    return driver
  }

  /** Throws when a call of the driver failed. `action` says what was tried: `allocating 4096 bytes`. */
  check(result: number, action: string, fn?: CudaFunction): void {
    if (result !== cudaResult.success) this.fail(result, action, fn)
  }

  /**
   * Throws the error of a result. A fault in a kernel surfaces in whatever call comes next, so it is laid to the kernels
   * that were running; once a context is lost, every call throws the error that lost it.
   */
  fail(result: number, action: string, fn?: CudaFunction): never {
    if (this.#lost) throw this.#lost
    const plain = new DriverError(this.driver, result, action, fn?.where)
    if (!plain.fatal) throw plain
    const suspects = new Set([...this.#queues].flatMap((queue) => [...queue.launched]))
    const [only] = suspects
    const blame =
      suspects.size === 0
        ? action
        : suspects.size === 1
          ? `kernel ${only!.program.name}${only!.where.location ? ` (${only!.where.location})` : ''}`
          : `one of the kernels ${[...suspects].map((suspect) => suspect.program.name).join(', ')}`
    this.#lost = new DriverError(this.driver, result, blame, suspects.size === 1 ? only!.where : {})
    throw this.#lost
  }

  own<R extends Resource>(resource: R): R {
    this.#resources.add(resource)
    return resource
  }

  /** Releases one resource, once; harmless afterwards and on a closed or lost context. */
  release(resource: Resource): void {
    if (!this.#resources.delete(resource)) return
    this.enter()
    resource.release()
  }

  addQueue(queue: Queue): void {
    this.#queues.add(queue)
  }

  removeQueue(queue: Queue): void {
    this.#queues.delete(queue)
  }

  /** Waits for every stream. */
  async synchronize(): Promise<void> {
    await Promise.all([...this.#queues].map((queue) => queue.synchronize()))
  }

  /** Releases everything, newest first, and the context. */
  close(): void {
    if (this.#closed) return
    const { driver } = this
    if (driver.current !== this.handle) driver.cuCtxSetCurrent(this.handle)
    for (const resource of [...this.#resources].reverse()) resource.release()
    this.#resources.clear()
    this.#closed = true
    driver.cuCtxSetCurrent(0)
    driver.current = 0
    driver.cuDevicePrimaryCtxRelease_v2(this.ordinal)
  }
}
