import type { DType } from '../dsl/dtype.ts'
import { CheckpointError } from './error.ts'
import { PartialFile } from './partial-file.ts'
import { storedDTypes } from './safetensors.ts'
import { byteLengthOf } from './tensor.ts'

/** A tensor to be written; its data come later. */
export interface TensorPlan {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
}

export interface WriterOptions {
  readonly metadata?: ReadonlyMap<string, string>
  /** Called after each tensor with the bytes of data written so far and in all. */
  readonly onProgress?: (done: number, total: number) => void
}

/** Writes a safetensors file whose tensors arrive one at a time, in any order. The file is there whole or not at all. */
export class SafetensorsWriter {
  readonly #file: PartialFile
  readonly #pending: Map<string, { readonly position: number; readonly bytes: number }>
  readonly #total: number
  readonly #onProgress: WriterOptions['onProgress']
  #done = 0

  private constructor(file: PartialFile, plan: Layout, options: WriterOptions) {
    this.#file = file
    this.#pending = new Map(plan.ranges)
    this.#total = plan.total
    this.#onProgress = options.onProgress
  }

  /** Writes the header. Throws `CheckpointError` when the disk has no room for the whole file. */
  static async create(
    path: string,
    tensors: readonly TensorPlan[],
    options: WriterOptions = {},
  ): Promise<SafetensorsWriter> {
    const plan = layOut(path, tensors, options.metadata ?? new Map())
    const file = await PartialFile.create(path, plan.header.byteLength + plan.total)
    await file.writeAt(plan.header, 0)
    return new SafetensorsWriter(file, plan, options)
  }

  /** Writes the whole of one tensor. After an error the file is given up. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const range = this.#pending.get(name)
    if (range === undefined)
      return this.#file.refuse(`tensor ${name} was not announced, or was written before`)
    if (range.bytes !== bytes.byteLength)
      return this.#file.refuse(
        `tensor ${name} was announced with ${range.bytes} bytes and given ${bytes.byteLength}`,
      )
    await this.#file.writeAt(bytes, range.position)
    this.#pending.delete(name)
    this.#done += range.bytes
    this.#onProgress?.(this.#done, this.#total)
  }

  /** Puts the file in its place. Throws `CheckpointError` when a tensor was not written. */
  async finish(): Promise<void> {
    const [missing] = this.#pending.keys()
    if (missing !== undefined) return this.#file.refuse(`tensor ${missing} was announced and never written`)
    await this.#file.finish()
  }

  /** Removes what was written. Harmless after `finish` or a second time. */
  abort(): Promise<void> {
    return this.#file.abort()
  }
}

interface Layout {
  readonly header: Uint8Array
  readonly ranges: ReadonlyMap<string, { readonly position: number; readonly bytes: number }>
  readonly total: number
}

function layOut(path: string, tensors: readonly TensorPlan[], metadata: ReadonlyMap<string, string>): Layout {
  const entries: [string, unknown][] = []
  if (metadata.size > 0) entries.push(['__metadata__', Object.fromEntries(metadata)])
  const offsets = new Map<string, { begin: number; bytes: number }>()
  let total = 0
  for (const { name, dtype, shape } of tensors) {
    const bytes = byteLengthOf({ dtype, shape })
    if (offsets.has(name) || name === '__metadata__')
      throw new CheckpointError(`${path}: tensor ${name} is announced twice, or has a reserved name`)
    offsets.set(name, { begin: total, bytes })
    entries.push([name, { dtype: tagOf(dtype), shape, data_offsets: [total, total + bytes] }])
    total += bytes
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)))
  // Spaces align the data to 8 bytes, as other writers do.
  const padded = Math.ceil(json.byteLength / 8) * 8
  const header = new Uint8Array(8 + padded).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true)
  header.set(json, 8)
  const place = ({ begin, bytes }: { begin: number; bytes: number }) => ({
    position: header.byteLength + begin,
    bytes,
  })
  return { header, ranges: new Map([...offsets].map(([name, range]) => [name, place(range)])), total }
}

function tagOf(dtype: DType): string {
  return Object.keys(storedDTypes).find((tag) => storedDTypes[tag]!.dtype === dtype)!
}
