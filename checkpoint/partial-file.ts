import { unlinkSync } from 'node:fs'
import { type FileHandle, open, rename, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CheckpointError } from './error.ts'

/** Node writes at most 2 GiB a call. */
const mostBytesACall = 2 ** 30

/**
 * A file in the making: it lies beside `path` under a temporary name, and takes its own only in `finish`. After an error,
 * `abort`, SIGINT or SIGTERM the temporary file is gone, and whatever was at `path` before is untouched.
 */
export class PartialFile {
  readonly path: string
  readonly #temporaryPath: string
  readonly #file: FileHandle
  #open = true

  private constructor(path: string, temporaryPath: string, file: FileHandle) {
    this.path = path
    this.#temporaryPath = temporaryPath
    this.#file = file
    process.on('SIGINT', this.#interrupted)
    process.on('SIGTERM', this.#interrupted)
  }

  /** Throws `CheckpointError` when the disk has no room for `needed` bytes. */
  static async create(path: string, needed: number): Promise<PartialFile> {
    const temporaryPath = `${path}.${process.pid}.partial`
    // Until the file listens, signals wait: none may find it made and nobody to remove it.
    const waiting: NodeJS.Signals[] = []
    const hold = (signal: NodeJS.Signals) => {
      waiting.push(signal)
    }
    process.on('SIGINT', hold).on('SIGTERM', hold)
    try {
      const { bavail, bsize } = await statfs(dirname(path))
      if (bavail * bsize < needed)
        throw new CheckpointError(
          `${path} needs ${needed} bytes and the disk has ${bavail * bsize} free; free some, or write to another disk`,
        )
      return new PartialFile(path, temporaryPath, await open(temporaryPath, 'w'))
    } catch (error) {
      throw writeFailure(path, error)
    } finally {
      process.off('SIGINT', hold).off('SIGTERM', hold)
      for (const signal of waiting) process.kill(process.pid, signal)
    }
  }

  /** Writes bytes at a place. After an error the file is given up. */
  async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    this.#assertOpen()
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        const length = Math.min(mostBytesACall, bytes.byteLength - done)
        done += (await this.#file.write(bytes, done, length, position + done)).bytesWritten
      }
    } catch (error) {
      await this.abort()
      throw writeFailure(this.path, error)
    }
  }

  /** Puts the file in its place. */
  async finish(): Promise<void> {
    this.#assertOpen()
    try {
      await this.#file.sync()
      await rename(this.#temporaryPath, this.path)
    } catch (error) {
      await this.abort()
      throw writeFailure(this.path, error)
    }
    await this.#close()
  }

  /** Gives the file up for a fault of what was to be written. */
  async refuse(fault: string): Promise<never> {
    this.#assertOpen()
    await this.abort()
    throw new CheckpointError(`${this.path}: ${fault}`)
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

  #assertOpen(): void {
    if (!this.#open) throw new CheckpointError(`${this.path}: nothing can be written after finish or abort`)
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
