import type { EngineStep, StepPart } from '../engine/engine-step.ts'
import type { StepLogProbs, StepResult } from '../engine/step-runner.ts'
import type { SlotRequest } from '../sampler.ts'

/** What a frame between two processes holds. */
export const frameKinds = { step: 1, result: 2, ready: 3, progress: 4, failure: 5 } as const
export type FrameKind = keyof typeof frameKinds

const kindNames: ReadonlyMap<number, FrameKind> = new Map(
  Object.entries(frameKinds).map(([name, code]) => [code, name as FrameKind]),
)

export interface Frame {
  readonly kind: FrameKind
  readonly payload: Buffer
}

/** A frame: its kind and the length of its payload, 32 bits each, little-endian, then the payload. */
const headerBytes = 8
/** Far above a step of any size; a length beyond it is not one of ours. */
const longestPayload = 2 ** 28

/** The other process sends what cannot be a frame. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

export function encodeFrame(kind: FrameKind, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + payload.length)
  frame.writeUInt32LE(frameKinds[kind], 0)
  frame.writeUInt32LE(payload.length, 4)
  frame.set(payload, headerBytes)
  return frame
}

/** Puts frames together from the pieces that a pipe gives. */
export class FrameReader {
  #pieces: Buffer[] = []
  #bytes = 0

  /** The frames that a piece completes. Throws `FrameError`. */
  push(piece: Buffer): Frame[] {
    this.#pieces.push(piece)
    this.#bytes += piece.length
    const frames: Frame[] = []
    for (let frame = this.#take(); frame !== undefined; frame = this.#take()) frames.push(frame)
    return frames
  }

  #take(): Frame | undefined {
    if (this.#bytes < headerBytes) return undefined
    if (this.#pieces[0]!.length < headerBytes) this.#join()
    const first = this.#pieces[0]!
    const kind = kindNames.get(first.readUInt32LE(0))
    const length = first.readUInt32LE(4)
    if (kind === undefined || length > longestPayload) throw new FrameError('what came is no frame')
    const end = headerBytes + length
    if (this.#bytes < end) return undefined
    this.#join()
    const whole = this.#pieces[0]!
    this.#pieces = whole.length > end ? [whole.subarray(end)] : []
    this.#bytes -= end
    return { kind, payload: whole.subarray(headerBytes, end) }
  }

  #join(): void {
    if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)]
  }
}

/** Writes lists of whole numbers one after the other, then a text. */
class Writer {
  /** Their count, then the numbers. */
  #words = new Int32Array(1024)
  #at = 1

  list(values: ArrayLike<number>): this {
    const { length } = values
    if (this.#at + 1 + length > this.#words.length) {
      const larger = new Int32Array(2 * (this.#words.length + length))
      larger.set(this.#words)
      this.#words = larger
    }
    this.#words[this.#at++] = length
    this.#words.set(values, this.#at)
    this.#at += length
    return this
  }

  finish(text: string): Buffer {
    this.#words[0] = this.#at - 1
    return Buffer.concat([new Uint8Array(this.#words.buffer, 0, 4 * this.#at), Buffer.from(text)])
  }
}

class Reader {
  readonly text: string
  readonly #words: Int32Array
  #at = 1

  constructor(payload: Buffer) {
    const count = payload.length >= 4 ? payload.readUInt32LE(0) : Number.POSITIVE_INFINITY
    const end = 4 * (1 + count)
    if (end > payload.length) throw new FrameError('a frame is cut off')
    // Copied, since a payload may begin anywhere and numbers may not.
    this.#words = new Int32Array(payload.buffer.slice(payload.byteOffset, payload.byteOffset + end))
    this.text = payload.toString('utf8', end)
  }

  list(): number[] {
    const words = this.#next()
    const { length } = words
    // A loop, which is many times quicker than what goes through iterators.
    const values = new Array<number>(length)
    for (let i = 0; i < length; i++) values[i] = words[i]!
    return values
  }

  /** A list of numbers of 32 bits without a sign. */
  words(): Uint32Array {
    const { buffer, byteOffset, length } = this.#next()
    return new Uint32Array(buffer, byteOffset, length)
  }

  #next(): Int32Array {
    const length = this.#words[this.#at]
    const start = this.#at + 1
    if (length === undefined || length < 0 || start + length > this.#words.length)
      throw new FrameError('a frame is cut off')
    this.#at = start + length
    return this.#words.subarray(start, start + length)
  }
}

/** A step as bytes: its numbers as they are, and what slots are opened for as JSON. */
export function encodeStep({ parts, unread, opened, slots, masks }: EngineStep): Buffer {
  const writer = new Writer()
  writer.list(slots).list(unread.flatMap(({ row, token, count }) => [row, token, count]))
  writer.list(
    parts.flatMap(({ position, isPrompt, samples }) => [position, isPrompt ? 1 : 0, samples ? 1 : 0]),
  )
  for (const { ids, pages } of parts) writer.list(ids).list(pages)
  writer.list(masks.map(({ slot }) => slot))
  for (const { bits } of masks) writer.list(bits)
  return writer.finish(
    JSON.stringify(opened.map(({ slot, request }) => ({ slot, request: plainRequest(request) }))),
  )
}

export function decodeStep(payload: Buffer): EngineStep {
  const reader = new Reader(payload)
  const slots = reader.list()
  const unread = triples(reader.list())
  const heads = reader.list()
  const parts: StepPart[] = []
  for (let i = 0; i < heads.length; i += 3)
    parts.push({
      ids: reader.list(),
      position: heads[i]!,
      isPrompt: heads[i + 1] === 1,
      pages: reader.list(),
      samples: heads[i + 2] === 1,
    })
  const masks = reader.list().map((slot) => ({ slot, bits: reader.words() }))
  const opened = (JSON.parse(reader.text) as { slot: number; request: PlainRequest }[]).map(
    ({ slot, request }) => ({
      slot,
      request: slotRequestOf(request),
    }),
  )
  return { parts, unread, opened, slots, masks }
}

function triples(values: readonly number[]): { row: number; token: number; count: number }[] {
  return Array.from({ length: values.length / 3 }, (_, i) => ({
    row: values[3 * i]!,
    token: values[3 * i + 1]!,
    count: values[3 * i + 2]!,
  }))
}

/** JSON has neither maps nor an infinity. */
type PlainRequest = Omit<SlotRequest, 'sampling'> & {
  readonly sampling: Omit<SlotRequest['sampling'], 'logitBias'> & {
    readonly logitBias: readonly (readonly [id: number, bias: number | null])[]
  }
}

function plainRequest({ sampling, ...rest }: SlotRequest): PlainRequest {
  const logitBias = [...(sampling.logitBias ?? [])].map(
    ([id, bias]) => [id, bias === Number.NEGATIVE_INFINITY ? null : bias] as const,
  )
  return { ...rest, sampling: { ...sampling, logitBias } }
}

function slotRequestOf({ sampling, ...rest }: PlainRequest): SlotRequest {
  const biases = sampling.logitBias.map(([id, bias]) => [id, bias ?? Number.NEGATIVE_INFINITY] as const)
  return { ...rest, sampling: { ...sampling, logitBias: new Map(biases) } }
}

/** A result as bytes: ids, then, where they were asked for, log-probabilities. */
export function encodeResult({ ids, logProbs }: StepResult): Buffer {
  const writer = new Writer().list(ids)
  if (logProbs) {
    const { chosen, topIds, top, most } = logProbs
    writer.list([most]).list(bitsOf(chosen)).list(topIds).list(bitsOf(top))
  }
  return writer.finish(logProbs ? 'p' : '')
}

export function decodeResult(payload: Buffer): StepResult {
  const reader = new Reader(payload)
  const ids = reader.list()
  if (reader.text === '') return { ids }
  const [most] = reader.list()
  const logProbs: StepLogProbs = {
    chosen: floatsOf(reader.list()),
    topIds: Int32Array.from(reader.list()),
    top: floatsOf(reader.list()),
    most: most!,
  }
  return { ids, logProbs }
}

const bitsOf = (values: Float32Array): Int32Array =>
  new Int32Array(values.buffer, values.byteOffset, values.length)

const floatsOf = (bits: readonly number[]): Float32Array => new Float32Array(Int32Array.from(bits).buffer)
