import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const known = new Map<string, string>()

/** A hash of the compiler's own files: one that differs in any file keeps its programs apart. */
export const compilerFingerprint = (): string => fingerprint('codegen', 'dsl')

/** The same of what makes WebAssembly of PTX for the emulator. */
export const translatorFingerprint = (): string => fingerprint('runtime/emulator')

/**
 * A hash of the code in folders of the package, as it runs here: TypeScript in a checkout, JavaScript in the package. A few
 * milliseconds, once per process.
 */
function fingerprint(...folders: readonly string[]): string {
  const key = folders.join()
  const before = known.get(key)
  if (before !== undefined) return before
  const hash = createHash('sha256')
  for (const folder of folders)
    for (const path of codeFiles(fileURLToPath(new URL(`../${folder}`, import.meta.url))))
      hash.update(`${folder} ${path.name}\n`).update(readFileSync(path.path))
  const digest = hash.digest('hex')
  known.set(key, digest)
  return digest
}

function codeFiles(folder: string, prefix = ''): { path: string; name: string }[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      const name = prefix + entry.name
      if (entry.isDirectory()) return codeFiles(path, `${name}/`)
      return /(?<!\.d)\.[jt]s$/.test(name) ? [{ path, name }] : []
    })
}
