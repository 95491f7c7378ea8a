import { DeviceError, type Graph, type Stream } from '../device.ts'
import { type Context, Handle, type Resource } from './context.ts'
import { handleIn } from './driver.ts'
import type { CudaFunction } from './module.ts'
import { CudaStream, streamOf } from './stream.ts'

/** `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`: what other threads do meanwhile does not spoil the capture. */
const threadLocal = 1

/** Launches recorded once and replayed by one call. Argument values are those at the time of recording. */
export class CudaGraph implements Graph, Resource {
  readonly #context: Context
  readonly #executable: Handle
  readonly #kernels: readonly CudaFunction[]
  readonly #defaultStream: CudaStream

  constructor(context: Context, enqueue: (stream: Stream) => void, defaultStream: CudaStream) {
    this.#context = context
    this.#defaultStream = defaultStream
    const stream = new CudaStream(context)
    try {
      const graph = record(context, stream, enqueue)
      const out = new BigUint64Array(1)
      const result = context.driver.cuGraphInstantiateWithFlags(out, graph, 0)
      context.driver.cuGraphDestroy(graph)
      context.check(result, 'making a graph executable')
      this.#executable = new Handle(handleIn(out), 'graph')
      this.#kernels = [...stream.launched]
    } finally {
      stream.destroy()
    }
    context.own(this)
  }

  launch(stream?: Stream): void {
    const on = stream ? streamOf(this.#context, stream) : this.#defaultStream
    this.#context.check(
      this.#context.enter().cuGraphLaunch(this.#executable.value, on.handle),
      'launching a graph',
    )
    for (const kernel of this.#kernels) on.note(kernel)
  }

  destroy(): void {
    this.#context.release(this)
  }

  release(): void {
    this.#context.driver.cuGraphExecDestroy(this.#executable.take())
  }
}

/** Runs `enqueue` while the stream records. A failure ends the recording and is thrown on. */
function record(context: Context, stream: CudaStream, enqueue: (stream: Stream) => void): number {
  const driver = context.enter()
  context.check(driver.cuStreamBeginCapture_v2(stream.handle, threadLocal), 'starting to record a graph')
  let failure: unknown
  try {
    const returned: unknown = enqueue(stream)
    if (returned instanceof Promise) {
      returned.catch(() => {})
      failure = new DeviceError('INVALID_CAPTURE', 'what a graph records must be enqueued without waiting')
    }
  } catch (error) {
    failure = error
  }
  const out = new BigUint64Array(1)
  const result = context.enter().cuStreamEndCapture(stream.handle, out)
  const graph = handleIn(out)
  if (failure !== undefined) {
    if (result === 0 && graph !== 0) driver.cuGraphDestroy(graph)
    throw failure
  }
  context.check(result, 'recording a graph')
  return graph
}
