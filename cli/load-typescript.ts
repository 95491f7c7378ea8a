import { existsSync } from 'node:fs'
import { register } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { UsageError } from './failure.ts'

let registered = false

/**
 * Imports a TypeScript module. Recent Node versions do so by themselves; for the others a loader hook strips the types
 * with the compiler that Quattuor carries.
 */
export async function importTypeScript(path: string): Promise<Record<string, unknown>> {
  const file = resolve(path)
  if (!existsSync(file)) throw new UsageError(`${path} does not exist`)
  const native = (process.features as { typescript?: unknown }).typescript
  if (!native && !registered && !import.meta.url.endsWith('.ts')) {
    register(new URL('./typescript-hooks.js', import.meta.url))
    registered = true
  }
  return import(pathToFileURL(file).href)
}
