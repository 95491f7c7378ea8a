import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { CheckpointError } from './error.ts'

/** Node reads at most 2 GiB a call. */
const mostBytesACall = 2 ** 30

/** A file of a checkpoint, read at any place. Whatever goes wrong is a `CheckpointError` that says what to do. */
export class InputFile {
  readonly path: string
  /** Bytes. */
  readonly size: number
  readonly #fd: number
  #open = true

  private constructor(path: string, fd: number, size: number) {
    this.path = path
    this.#fd = fd
    this.size = size
  }

  static open(path: string): InputFile {
    const fd = openForReading(path)
    const stat = fstatSync(fd)
    if (stat.isFile()) return new InputFile(path, fd, stat.size)
    closeSync(fd)
    throw new CheckpointError(`${path} is not a file; name the folder that holds the checkpoint`)
  }

  /** Fills `dst` with the bytes from `position` on. */
  read(dst: Uint8Array, position: number): void {
    if (!this.#open) throw new CheckpointError(`${this.path} was closed before all of it was read`)
    for (let done = 0; done < dst.byteLength; ) {
      const length = Math.min(mostBytesACall, dst.byteLength - done)
      const count = readSync(this.#fd, dst, done, length, position + done)
      if (count === 0)
        throw new CheckpointError(`${this.path} became shorter while it was read; download it again`)
      done += count
    }
  }

  /** Bytes `position` to `position + length`. */
  slice(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    this.read(bytes, position)
    return bytes
  }

  close(): void {
    if (this.#open) closeSync(this.#fd)
    this.#open = false
  }
}

function openForReading(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT')
      throw new CheckpointError(`${path} is missing; download it, or point to the folder that has it`)
    throw new CheckpointError(`${path} cannot be opened (${code}); check its permissions`)
  }
}
