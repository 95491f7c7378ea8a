/**
 * Module loader hooks, which run in a thread of their own: give the modules that `load-typescript.ts` has prepared,
 * and resolve the package's public name to the package that runs.
 */
import type { LoadHook, ResolveHook } from 'node:module'

/** What the main thread hands over with `register`. */
export interface PreparedModules {
  /** JavaScript by URL. */
  readonly sources: ReadonlyMap<string, string>
  /** URLs of the public entry points by specifier. */
  readonly packages: ReadonlyMap<string, string>
}

let prepared: PreparedModules

export function initialize(modules: PreparedModules): void {
  prepared = modules
}

export const resolve: ResolveHook = (specifier, context, next) => {
  const entry = prepared.packages.get(specifier)
  if (entry !== undefined) return next(entry, context)
  if (specifier.startsWith('.') && context.parentURL) {
    const url = new URL(specifier, context.parentURL).href
    // By TypeScript's custom, `./x.js` may stand for `./x.ts`.
    for (const candidate of [url, url.replace(/\.js$/, '.ts')])
      if (prepared.sources.has(candidate)) return { url: candidate, format: 'module', shortCircuit: true }
  }
  return next(specifier, context)
}

export const load: LoadHook = (url, context, next) => {
  const source = prepared.sources.get(url)
  return source === undefined ? next(url, context) : { format: 'module', source, shortCircuit: true }
}
