import type { Device, Event, PinnedMemory, Stream } from '../runtime/device.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { AttendedSequences, StepInput, StepLimits } from './step.ts'

/** What a step reads, on the device; see `StepInput`. */
export interface StepInputTensors {
  readonly ids: Tensor
  readonly positions: Tensor
  readonly slots: Tensor
  readonly queryStart: Tensor
  readonly context: Tensor
  readonly prompts: Tensor
  readonly logitRows: Tensor
  readonly pages: Tensor
}

/** Where each part begins, in words: at multiples of 64, so that all are aligned to 256 bytes. */
const alignWords = 64

/** The sizes of the parts, in the order in which they lie: what may be long and mostly empty comes last. */
const shapesOf = (limits: StepLimits, rows: number) =>
  ({
    queryStart: [rows + 1],
    context: [rows],
    prompts: [rows],
    logitRows: [limits.logitRows],
    ids: [limits.tokens],
    positions: [limits.tokens],
    slots: [limits.tokens],
    pages: [rows, limits.pagesPerSequence],
  }) as const satisfies Record<keyof StepInputTensors, readonly number[]>

/** Words of each part's start, and of all of them. */
function placesOf(limits: StepLimits, rows: number) {
  let words = 0
  const starts = Object.fromEntries(
    Object.entries(shapesOf(limits, rows)).map(([name, shape]) => {
      const start = words
      const length = shape.reduce((product: number, extent) => product * extent, 1)
      words = Math.ceil((start + length) / alignWords) * alignWords
      return [name, start]
    }),
  ) as Record<keyof StepInputTensors, number>
  return { starts, words }
}

/** One image of the inputs on the host, and when its copy to the device is done. */
interface Image {
  readonly memory: PinnedMemory
  readonly words: Int32Array
  readonly copied: Event
}

/**
 * The inputs of steps in one piece of device memory, which one copy from pinned memory fills: the host waits for nothing,
 * and the device has one short gap between two steps and not seven.
 */
export class StepInputs {
  readonly tensors: StepInputTensors
  readonly #device: Device
  readonly #buffer: Tensor
  readonly #starts: Readonly<Record<keyof StepInputTensors, number>>
  /** As many as are on their way at a time. */
  readonly #images: Image[] = []

  /** For `rows` sequences, or pieces of sequences. */
  constructor(device: Device, limits: StepLimits, rows: number) {
    const { starts, words } = placesOf(limits, rows)
    this.#device = device
    this.#starts = starts
    this.#buffer = Tensor.allocate(device, 'i32', [words])
    this.tensors = Object.fromEntries(
      Object.entries(shapesOf(limits, rows)).map(([name, shape]) => [
        name,
        this.#buffer.view(4 * starts[name as keyof StepInputTensors], 'i32', shape),
      ]),
    ) as unknown as StepInputTensors
  }

  get bytes(): number {
    return this.#buffer.bytes
  }

  /** Enqueues the copy of a step's inputs, whose sequences are those of `attended`. */
  upload(
    input: StepInput,
    { queryStart, context, prompts, pages }: AttendedSequences,
    stream?: Stream,
  ): void {
    const image = this.#freeImage()
    const { words } = image
    const starts = this.#starts
    words.set(queryStart, starts.queryStart)
    // Rows without a sequence have no tokens.
    words.fill(queryStart.at(-1)!, starts.queryStart + queryStart.length, starts.context)
    words.set(context, starts.context)
    words.fill(0, starts.context + context.length, starts.prompts)
    words.set(prompts, starts.prompts)
    words.fill(0, starts.prompts + prompts.length, starts.logitRows)
    words.set(input.logitRows, starts.logitRows)
    words.set(input.ids, starts.ids)
    words.set(input.positions, starts.positions)
    words.set(input.slots, starts.slots)
    words.set(pages, starts.pages)
    const used = starts.pages + pages.length
    this.#device.write(this.#buffer.slice(0, used), words.subarray(0, used), stream)
    image.copied.record(stream)
  }

  free(): void {
    this.#buffer.free()
    for (const { memory, copied } of this.#images) {
      copied.destroy()
      memory.free()
    }
  }

  #freeImage(): Image {
    const free = this.#images.find(({ copied }) => copied.done)
    if (free) return free
    const memory = this.#device.allocatePinned(this.#buffer.bytes)
    const words = new Int32Array(memory.view.buffer, memory.view.byteOffset, this.#buffer.length)
    const image = { memory, words, copied: this.#device.createEvent() }
    this.#images.push(image)
    return image
  }
}
