import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile, rename, stat, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from './make-folder.ts'

export interface StoreStatistics {
  readonly folder: string
  readonly entries: number
  readonly bytes: number
  readonly limitBytes: number
  /** Why nothing can be written, where that is so. */
  readonly problem: string | undefined
}

export interface FileStoreOptions {
  readonly limitBytes?: number
  /** Where problems are told; default: standard error. */
  readonly warn?: (message: string) => void
}

const defaultLimitBytes = 256 * 2 ** 20
/** A temporary file this old belongs to a process that died while writing it. */
const staleMs = 3_600_000
const newline = 0x0a

/**
 * A folder of what was compiled, one file a key, shared by any number of processes.
 *
 * A file is the SHA-256 of its content, a newline, and the content. It appears whole, by a rename; one that is cut short
 * or altered does not match its hash and counts as absent. The least recently used go when the folder outgrows its
 * limit; use is recorded as the file's modification time. A folder that cannot be written is reported once, and
 * everything works without it.
 */
export class FileStore {
  readonly folder: string
  readonly #suffix: string
  readonly #limitBytes: number
  readonly #warn: (message: string) => void
  #problem: string | undefined
  #unswept = Number.POSITIVE_INFINITY

  constructor(folder: string, suffix: string, options: FileStoreOptions = {}) {
    this.folder = folder
    this.#suffix = suffix
    this.#limitBytes = options.limitBytes ?? defaultLimitBytes
    this.#warn = options.warn ?? ((message) => console.error(`quattuor: ${message}`))
  }

  /** The content under `key`, or `undefined` when there is none that is whole. */
  async read(key: string): Promise<Buffer | undefined> {
    const path = this.#path(key)
    let file: Buffer
    try {
      file = await readFile(path)
    } catch {
      return undefined
    }
    const end = file.indexOf(newline)
    const content = file.subarray(end + 1)
    if (end < 0 || file.toString('latin1', 0, end) !== digest(content)) return undefined
    const now = new Date()
    // A folder that is only readable cannot record use, and needs no record.
    await utimes(path, now, now).catch(() => {})
    return content
  }

  /** Writes a file; what goes wrong is reported once and otherwise ignored. */
  async write(key: string, content: string | Uint8Array): Promise<void> {
    if (this.#problem) return
    const file = Buffer.concat([Buffer.from(`${digest(content)}\n`), Buffer.from(content)])
    const temporary = join(this.folder, `${key}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`)
    try {
      makeFolder(this.folder)
      await writeFile(temporary, file, { flag: 'wx' })
      await rename(temporary, this.#path(key))
    } catch (error) {
      await unlink(temporary).catch(() => {})
      this.#report((error as Error).message)
      return
    }
    this.#unswept += file.length
    if (this.#unswept > this.#limitBytes / 16) await this.#sweep()
  }

  async statistics(): Promise<StoreStatistics> {
    const entries = (await this.#files()).filter((file) => file.path.endsWith(this.#suffix))
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0)
    const { folder } = this
    return { folder, entries: entries.length, bytes, limitBytes: this.#limitBytes, problem: this.#problem }
  }

  #report(problem: string): void {
    if (this.#problem) return
    this.#problem = problem
    this.#warn(
      `compiled kernels are not kept, because ${this.folder} cannot be written (${problem}); ` +
        'set QUATTUOR_CACHE to a folder that can, or to off',
    )
  }

  /** Removes the least recently used files beyond the limit, and what dead processes left. */
  async #sweep(): Promise<void> {
    this.#unswept = 0
    const files = await this.#files()
    const remove = (path: string) => unlink(path).catch(() => {})
    let bytes = 0
    for (const file of files.sort((a, b) => b.usedMs - a.usedMs)) {
      if (file.path.endsWith(this.#suffix)) {
        bytes += file.bytes
        if (bytes > this.#limitBytes) await remove(file.path)
      } else if (file.path.endsWith('.tmp') && Date.now() - file.usedMs > staleMs) {
        await remove(file.path)
      }
    }
  }

  async #files(): Promise<{ path: string; bytes: number; usedMs: number }[]> {
    const names = await readdir(this.folder).catch(() => [])
    const files = names.map(async (name) => {
      const path = join(this.folder, name)
      // Another process may have removed it meanwhile.
      const info = await stat(path).catch(() => undefined)
      return info ? [{ path, bytes: info.size, usedMs: info.mtimeMs }] : []
    })
    return (await Promise.all(files)).flat()
  }

  #path(key: string): string {
    return join(this.folder, key + this.#suffix)
  }
}

const digest = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex')
