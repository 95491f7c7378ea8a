import type { Device, Event, Stream } from '../../runtime/device.ts'
import { Tensor } from '../../runtime/tensor.ts'
import type { Sampler } from '../sampler.ts'
import { MOST_TOP_LOG_PROBS } from '../sampling.ts'
import type { StepLogProbs, StepResult } from './step-runner.ts'

/** What a step has sampled, out of the way of the next step. */
interface Copies {
  readonly ids: Tensor
  readonly chosen: Tensor
  readonly topIds: Tensor
  readonly top: Tensor
  /** Recorded when they are filled. */
  readonly filled: Event
}

/**
 * Reads what steps sampled while the next one runs. Waiting for the stream of the steps would be waiting for the next step
 * as well; so results are copied aside on the device, in turns, and read on a stream of their own.
 */
export class ResultReader {
  readonly #device: Device
  readonly #sampler: Sampler
  readonly #stream: Stream
  readonly #copies: readonly Copies[]
  #step = 0

  /** For steps of at most `rows` rows, of which no more than two have not been read at a time. */
  constructor(device: Device, sampler: Sampler, rows: number) {
    this.#device = device
    this.#sampler = sampler
    this.#stream = device.createStream()
    this.#copies = Array.from({ length: 2 }, () => ({
      ids: Tensor.allocate(device, 'i32', [rows]),
      chosen: Tensor.allocate(device, 'f32', [rows]),
      topIds: Tensor.allocate(device, 'i32', [rows, MOST_TOP_LOG_PROBS]),
      top: Tensor.allocate(device, 'f32', [rows, MOST_TOP_LOG_PROBS]),
      filled: device.createEvent(),
    }))
  }

  /** What the step that was enqueued last samples, `rows` of them, as soon as that step has run. */
  async read(rows: number): Promise<StepResult> {
    const copies = this.#copies[this.#step++ % this.#copies.length]!
    const { ids, reports, logProbs } = this.#sampler
    const device = this.#device
    if (rows > 0) device.copy(copies.ids, ids.slice(0, rows))
    const reported = rows > 0 && reports
    if (reported) {
      device.copy(copies.chosen, logProbs.chosen.slice(0, rows))
      device.copy(copies.topIds, logProbs.topIds.slice(0, rows))
      device.copy(copies.top, logProbs.top.slice(0, rows))
    }
    copies.filled.record()
    this.#stream.wait(copies.filled)
    if (rows === 0) {
      await this.#stream.synchronize()
      return { ids: [] }
    }
    const read = (tensor: Tensor) => tensor.slice(0, rows).read(this.#stream)
    const [sampled, told] = await Promise.all([
      read(copies.ids) as Promise<Int32Array>,
      reported ? readLogProbs(copies, read) : undefined,
    ])
    return { ids: sampled, logProbs: told }
  }

  free(): void {
    for (const { ids, chosen, topIds, top, filled } of this.#copies) {
      for (const tensor of [ids, chosen, topIds, top]) tensor.free()
      filled.destroy()
    }
    this.#stream.destroy()
  }
}

async function readLogProbs(
  { chosen, topIds, top }: Copies,
  read: (tensor: Tensor) => Promise<unknown>,
): Promise<StepLogProbs> {
  const [chosenOnHost, topIdsOnHost, topOnHost] = await Promise.all([read(chosen), read(topIds), read(top)])
  return {
    chosen: chosenOnHost as Float32Array,
    topIds: topIdsOnHost as Int32Array,
    top: topOnHost as Float32Array,
    most: MOST_TOP_LOG_PROBS,
  }
}
