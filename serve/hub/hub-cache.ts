import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { makeFolder } from '../../runtime/make-folder.ts'
import type { HubName } from './hub-name.ts'

/** Files of a model that are of use; weights come in the shards that their index names. */
const useful =
  /^(?:(?:config|generation_config|tokenizer|tokenizer_config|special_tokens_map|chat_template|model\.safetensors\.index)\.json|chat_template\.jinja|tokenizer\.model|model(?:-\d{5}-of-\d{5})?\.safetensors)$/

export const isUseful = (path: string): boolean => useful.test(path)

const commitPattern = /^[0-9a-f]{40}$/
export const isCommit = (text: string): boolean => commitPattern.test(text)

/** One model in the cache of Hugging Face's own programs, which share what they download. */
export class CachedModel {
  readonly #folder: string

  constructor(cacheFolder: string, { name }: HubName) {
    this.#folder = join(cacheFolder, `models--${name.replace('/', '--')}`)
  }

  /** The folder of a commit's files. */
  snapshot(commit: string): string {
    return join(this.#folder, 'snapshots', commit)
  }

  /** The commit that a revision was when it was downloaded last. */
  commitOf(revision: string): string | undefined {
    if (isCommit(revision)) return revision
    const path = join(this.#folder, 'refs', revision)
    const commit = existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
    return isCommit(commit) ? commit : undefined
  }

  remember(revision: string, commit: string): void {
    if (isCommit(revision)) return
    makeFolder(join(this.#folder, 'refs'))
    writeFileSync(join(this.#folder, 'refs', revision), commit)
  }

  /** Where the content with a hash lies, or will. */
  blob(hash: string): string {
    makeFolder(join(this.#folder, 'blobs'))
    return join(this.#folder, 'blobs', hash)
  }

  /** Makes a blob a commit's file. */
  link(commit: string, path: string, hash: string): void {
    const file = join(this.snapshot(commit), path)
    makeFolder(this.snapshot(commit))
    rmSync(file, { force: true })
    symlinkSync(join('..', '..', 'blobs', hash), file)
  }

  /** Whether a commit has a configuration and all of its weights. */
  isComplete(commit: string): boolean {
    const has = (path: string) => existsSync(join(this.snapshot(commit), path))
    if (!has('config.json')) return false
    if (has('model.safetensors')) return true
    return has('model.safetensors.index.json') && this.#shardsOf(commit).every(has)
  }

  #shardsOf(commit: string): readonly string[] {
    const index = readFileSync(join(this.snapshot(commit), 'model.safetensors.index.json'), 'utf8')
    const parsed = z.object({ weight_map: z.record(z.string(), z.string()) }).safeParse(JSON.parse(index))
    return parsed.success ? [...new Set(Object.values(parsed.data.weight_map))] : ['']
  }
}
