import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

let known: string | undefined

/**
 * A hash of the compiler's own files, as they run here: TypeScript in a checkout, JavaScript in the package. A compiler
 * that differs in any file keeps its programs apart. A few milliseconds, once per process.
 */
export function compilerFingerprint(): string {
  if (known) return known
  const hash = createHash('sha256')
  for (const folder of ['codegen', 'dsl'])
    for (const path of codeFiles(fileURLToPath(new URL(`../${folder}`, import.meta.url))))
      hash.update(`${folder} ${path.name}\n`).update(readFileSync(path.path))
  known = hash.digest('hex')
  return known
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
