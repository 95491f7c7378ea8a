import { DeviceError, type Event, type Stream } from '../device.ts'
import { type Context, Handle, type Queue, type Resource } from './context.ts'
import { handleIn } from './driver.ts'
import { cudaResult } from './errors.ts'
import type { CudaFunction } from './module.ts'

/** `CU_STREAM_NON_BLOCKING`: does not wait for the legacy default stream, which nobody here uses. */
const nonBlocking = 1

/** A stream of a context: what is enqueued runs in order. */
export class CudaStream implements Stream, Resource, Queue {
  readonly context: Context
  /** Kernels launched since the stream was last seen to be done. */
  readonly launched = new Set<CudaFunction>()
  readonly #handle: Handle
  #launches = 0

  constructor(context: Context) {
    this.context = context
    const out = new BigUint64Array(1)
    context.check(context.enter().cuStreamCreate(out, nonBlocking), 'creating a stream')
    this.#handle = new Handle(handleIn(out), 'stream')
    context.own(this)
    context.addQueue(this)
  }

  get handle(): number {
    return this.#handle.value
  }

  /** Notes that a kernel was enqueued. */
  note(kernel: CudaFunction): void {
    this.launched.add(kernel)
    this.#launches++
  }

  /** Asks first, so that a stream that is done costs no trip to the thread pool. */
  async synchronize(): Promise<void> {
    const driver = this.context.enter()
    const launches = this.#launches
    let result = driver.cuStreamQuery(this.handle)
    if (result === cudaResult.notReady) result = await driver.wait.streamSynchronize(this.handle)
    if (result === cudaResult.success && launches === this.#launches) this.launched.clear()
    this.context.check(result, 'waiting for a stream')
  }

  wait(event: Event): void {
    const { handle } = eventOf(this.context, event)
    this.context.check(this.context.enter().cuStreamWaitEvent(this.handle, handle, 0), 'waiting for an event')
  }

  destroy(): void {
    this.context.release(this)
  }

  release(): void {
    this.context.driver.cuStreamDestroy_v2(this.#handle.take())
    this.context.removeQueue(this)
  }
}

/** An event that records times; without a stream it is recorded on the default one. */
export class CudaEvent implements Event, Resource {
  readonly context: Context
  readonly #handle: Handle
  readonly #defaultStream: CudaStream

  constructor(context: Context, defaultStream: CudaStream) {
    this.context = context
    this.#defaultStream = defaultStream
    const out = new BigUint64Array(1)
    context.check(context.enter().cuEventCreate(out, 0), 'creating an event')
    this.#handle = new Handle(handleIn(out), 'event')
    context.own(this)
  }

  get handle(): number {
    return this.#handle.value
  }

  get done(): boolean {
    const result = this.context.enter().cuEventQuery(this.handle)
    if (result === cudaResult.notReady) return false
    this.context.check(result, 'asking an event')
    return true
  }

  record(stream?: Stream): void {
    const { handle } = stream ? streamOf(this.context, stream) : this.#defaultStream
    this.context.check(this.context.enter().cuEventRecord(this.handle, handle), 'recording an event')
  }

  async synchronize(): Promise<void> {
    const driver = this.context.enter()
    let result = driver.cuEventQuery(this.handle)
    if (result === cudaResult.notReady) result = await driver.wait.eventSynchronize(this.handle)
    this.context.check(result, 'waiting for an event')
  }

  elapsedSince(earlier: Event): number {
    const out = new Float32Array(1)
    const start = eventOf(this.context, earlier).handle
    this.context.check(
      this.context.enter().cuEventElapsedTime(out, start, this.handle),
      'measuring between events',
    )
    return out[0]!
  }

  destroy(): void {
    this.context.release(this)
  }

  release(): void {
    this.context.driver.cuEventDestroy_v2(this.#handle.take())
  }
}

/** The stream as one of this context's; a stream of another device is an error. */
export function streamOf(context: Context, stream: Stream): CudaStream {
  if (stream instanceof CudaStream && stream.context === context) return stream
  throw new DeviceError('WRONG_DEVICE', `the stream is not one of ${context.name}`)
}

function eventOf(context: Context, event: Event): CudaEvent {
  if (event instanceof CudaEvent && event.context === context) return event
  throw new DeviceError('WRONG_DEVICE', `the event is not one of ${context.name}`)
}
