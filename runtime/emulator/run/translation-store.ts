import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { Program } from '../../../codegen/program.ts'
import { translatorFingerprint } from '../../compiler-fingerprint.ts'
import { FileStore, type StoreStatistics } from '../../file-store.ts'
import { cacheFolder } from '../../program-cache.ts'

/** What of a translation without checks is worth keeping. */
export interface StoredTranslation {
  /** The WebAssembly module. */
  readonly module: Uint8Array<ArrayBuffer>
  readonly stateBytes: number
}

/**
 * Kernels as WebAssembly on disk, one file each, as cubins are for GPUs: a process finds there what an earlier one has
 * translated. A file is the bytes of a warp's state, 4 of them, and the module.
 */
export class TranslationStore {
  readonly #files: FileStore

  constructor(files: FileStore) {
    this.#files = files
  }

  async read(program: Program): Promise<StoredTranslation | undefined> {
    const content = await this.#files.read(keyOf(program))
    if (!content || content.length < 4) return undefined
    return { module: new Uint8Array(content.subarray(4)), stateBytes: content.readUInt32LE(0) }
  }

  /** Writes a translation; what goes wrong is reported once and otherwise ignored. */
  async write(program: Program, { module, stateBytes }: StoredTranslation): Promise<void> {
    const head = Buffer.alloc(4)
    head.writeUInt32LE(stateBytes)
    await this.#files.write(keyOf(program), Buffer.concat([head, module]))
  }

  statistics(): Promise<StoreStatistics> {
    return this.#files.statistics()
  }
}

function keyOf({ name, block, sharedBytes, ptx }: Program): string {
  const facts = [translatorFingerprint(), name, block.join(), sharedBytes, ptx]
  return createHash('sha256').update(facts.join('\n')).digest('hex').slice(0, 40)
}

let shared: TranslationStore | null | undefined

/** The store of this process, in the user's folder beside the programs; `null` where the cache is off. */
export function translationStore(): TranslationStore | null {
  if (shared !== undefined) return shared
  const folder = cacheFolder()
  shared = folder === null ? null : new TranslationStore(new FileStore(join(folder, 'translations'), '.wasm'))
  return shared
}
