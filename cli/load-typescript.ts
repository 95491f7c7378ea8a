import { existsSync } from 'node:fs'
import { register } from 'node:module'
import { dirname, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseFile } from '../codegen/frontend/source.ts'
import { stripTypes } from '../codegen/frontend/strip-types.ts'
import type { FileNode } from '../codegen/frontend/syntax.ts'
import { UsageError } from './failure.ts'
import { withoutMainProgram } from './kernel-module.ts'
import type { PreparedModules } from './typescript-hooks.ts'

/**
 * Imports TypeScript files for what they export: their main programs do not run (see `withoutMainProgram`), and
 * `import … from 'quattuor'` means the package that runs, wherever the files lie. Works on every Node version: types
 * are stripped here, with the parser that the compiler has anyway, and a loader hook hands the text to Node.
 *
 * Throws `Diagnostic` for a file that does not parse, and `UsageError` for one whose own code throws.
 */
export async function importExports(paths: readonly string[]): Promise<Record<string, unknown>[]> {
  generation++
  const sources = new Map<string, string>()
  const urls = paths.map((path) => {
    const file = resolve(path)
    const { node } = parseFile(file)
    // A query keeps these modules apart from the same files imported as they are.
    const url = `${pathToFileURL(file).href}?exports=${generation}`
    sources.set(url, stripTypes(withoutMainProgram(node)))
    for (const imported of importedFiles(file, node)) prepare(sources, imported)
    return url
  })
  register<PreparedModules>(new URL(`./typescript-hooks${extension}`, import.meta.url), {
    data: { sources, packages },
  })
  const modules: Record<string, unknown>[] = []
  for (const [i, url] of urls.entries())
    try {
      modules.push(await import(url))
    } catch (error) {
      throw new UsageError(`${paths[i]} cannot be loaded: ${error instanceof Error ? error.message : error}`)
    }
  return modules
}

let generation = 0

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

const packages = new Map([
  ['quattuor', new URL(`../index${extension}`, import.meta.url).href],
  ['quattuor/dsl', new URL(`../dsl/index${extension}`, import.meta.url).href],
  ['quattuor/quantize', new URL(`../quantize/index${extension}`, import.meta.url).href],
  ['quattuor/kernels', new URL(`../kernels/index${extension}`, import.meta.url).href],
])

/** The folder of the modules that run now; they are imported as they are. */
const running = fileURLToPath(new URL('..', import.meta.url))

/** Strips a file and those that it imports. */
function prepare(sources: Map<string, string>, file: string): void {
  const { href } = pathToFileURL(file)
  if (sources.has(href) || (extension === '.ts' && file.startsWith(running))) return
  const { node } = parseFile(file)
  sources.set(href, stripTypes(node.source.text))
  for (const imported of importedFiles(file, node)) prepare(sources, imported)
}

function importedFiles(file: string, node: FileNode): string[] {
  const specifiers = [...node.imports, ...node.exports].flatMap(({ from }) =>
    from?.startsWith('.') ? [from] : [],
  )
  return specifiers
    .map((specifier) => resolve(dirname(file), specifier).replace(/\.js$/, '.ts'))
    .filter((path) => path.endsWith('.ts') && existsSync(path))
}
