import type { Program } from '../codegen/program.ts'
import { FileStore, type FileStoreOptions, type StoreStatistics } from './file-store.ts'

/** A folder of programs as JSON, shared by any number of processes. */
export class ProgramStore {
  readonly #files: FileStore

  constructor(folder: string, options: FileStoreOptions = {}) {
    this.#files = new FileStore(folder, '.json', options)
  }

  /** The program under `key`, or `undefined` when there is none that is whole. */
  async read(key: string): Promise<Program | undefined> {
    const content = await this.#files.read(key)
    return content && (JSON.parse(content.toString('utf8')) as Program)
  }

  /** Writes a program; what goes wrong is reported once and otherwise ignored. */
  write(key: string, program: Program): Promise<void> {
    return this.#files.write(key, JSON.stringify(program))
  }

  statistics(): Promise<StoreStatistics> {
    return this.#files.statistics()
  }
}
