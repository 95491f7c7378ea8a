import { unlinkSync } from 'node:fs'
import { type FileHandle, open, rename, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type DType, dtypeBytes } from '../dsl/dtype.ts'
import { CheckpointError } from './error.ts'
import { storedDTypes } from './safetensors.ts'
import { elementCount } from './tensor.ts'

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

/**
 * Writes a safetensors file whose tensors arrive one at a time, in any order.
 *
 * The data go to a temporary file beside `path`, which takes that name only in `finish`. After an error, `abort`,
 * SIGINT or SIGTERM the temporary file is gone, and whatever was at `path` before is untouched.
 */
export class SafetensorsWriter {
  readonly #path: string
  readonly #temporaryPath: string
  readonly #file: FileHandle
  readonly #pending: Map<string, { readonly position: number; readonly bytes: number }>
  readonly #total: number
  readonly #onProgress: WriterOptions['onProgress']
  #done = 0
  #open = true

  private constructor(
    path: string,
    temporaryPath: string,
    file: FileHandle,
    plan: Layout,
    options: WriterOptions,
  ) {
    this.#path = path
    this.#temporaryPath = temporaryPath
    this.#file = file
    this.#pending = new Map(plan.ranges)
    this.#total = plan.total
    this.#onProgress = options.onProgress
    process.on('SIGINT', this.#interrupted)
    process.on('SIGTERM', this.#interrupted)
  }

  /** Writes the header. Throws `CheckpointError` when the disk has no room for the whole file. */
  static async create(
    path: string,
    tensors: readonly TensorPlan[],
    options: WriterOptions = {},
  ): Promise<SafetensorsWriter> {
    const plan = layOut(path, tensors, options.metadata ?? new Map())
    const temporaryPath = `${path}.${process.pid}.partial`
    const needed = plan.header.byteLength + plan.total
    // Until the writer listens, signals wait: none may find the file made and nobody to remove it.
    const waiting: NodeJS.Signals[] = []
    const hold = (signal: NodeJS.Signals) => {
      waiting.push(signal)
    }
    process.on('SIGINT', hold).on('SIGTERM', hold)
    let writer: SafetensorsWriter
    try {
      const { bavail, bsize } = await statfs(dirname(path))
      if (bavail * bsize < needed)
        throw new CheckpointError(
          `${path} needs ${needed} bytes and the disk has ${bavail * bsize} free; free some, or write to another disk`,
        )
      writer = new SafetensorsWriter(path, temporaryPath, await open(temporaryPath, 'w'), plan, options)
    } catch (error) {
      throw writeFailure(path, error)
    } finally {
      process.off('SIGINT', hold).off('SIGTERM', hold)
      for (const signal of waiting) process.kill(process.pid, signal)
    }
    await writer.#writeAt(plan.header, 0)
    return writer
  }

  /** Writes the whole of one tensor. After an error the file is given up. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const range = this.#pending.get(name)
    if (range === undefined || range.bytes !== bytes.byteLength) {
      await this.abort()
      throw new CheckpointError(
        range === undefined
          ? `${this.#path}: tensor ${name} was not announced, or was written before`
          : `${this.#path}: tensor ${name} was announced with ${range.bytes} bytes and given ${bytes.byteLength}`,
      )
    }
    await this.#writeAt(bytes, range.position)
    this.#pending.delete(name)
    this.#done += range.bytes
    this.#onProgress?.(this.#done, this.#total)
  }

  /** Puts the file in its place. Throws `CheckpointError` when a tensor was not written. */
  async finish(): Promise<void> {
    this.#assertOpen()
    const [missing] = this.#pending.keys()
    if (missing !== undefined) {
      await this.abort()
      throw new CheckpointError(`${this.#path}: tensor ${missing} was announced and never written`)
    }
    try {
      await this.#file.sync()
      await rename(this.#temporaryPath, this.#path)
    } catch (error) {
      await this.abort()
      throw writeFailure(this.#path, error)
    }
    await this.#close()
  }

  /** Removes what was written. Harmless after `finish` or a second time. */
  async abort(): Promise<void> {
    if (!this.#open) return
    try {
      unlinkSync(this.#temporaryPath)
    } catch {
      // Somebody removed it: what we wanted.
    }
    await this.#close()
  }

  async #writeAt(bytes: Uint8Array, position: number): Promise<void> {
    this.#assertOpen()
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        const length = Math.min(2 ** 30, bytes.byteLength - done)
        done += (await this.#file.write(bytes, done, length, position + done)).bytesWritten
      }
    } catch (error) {
      await this.abort()
      throw writeFailure(this.#path, error)
    }
  }

  #assertOpen(): void {
    if (!this.#open) throw new CheckpointError(`${this.#path}: nothing can be written after finish or abort`)
  }

  async #close(): Promise<void> {
    this.#open = false
    process.off('SIGINT', this.#interrupted)
    process.off('SIGTERM', this.#interrupted)
    await this.#file.close()
  }

  /** Cleans up, then lets the signal do what it would have done without us, unless somebody else handles it. */
  readonly #interrupted = (signal: NodeJS.Signals): void => {
    void this.abort()
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
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
    const bytes = elementCount(shape) * dtypeBytes[dtype]
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

function writeFailure(path: string, error: unknown): CheckpointError {
  if (error instanceof CheckpointError) return error
  const { code, message } = error as NodeJS.ErrnoException
  const fault =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'the disk is full; free some space, or write to another disk'
      : code === 'ENOENT'
        ? 'its folder does not exist; create it first'
        : code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
          ? 'this user may not write there; choose another folder'
          : message
  return new CheckpointError(`${path} cannot be written: ${fault}`)
}
