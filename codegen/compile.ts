import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Kernel } from '../dsl/kernel.ts'
import type { Place } from './diagnostics.ts'
import { Diagnostic } from './diagnostics.ts'
import { lowerKernel } from './frontend/lower-kernel.ts'
import type { Module } from './frontend/names.ts'
import { typeErrors } from './frontend/type-check.ts'
import { lower, Refusal } from './ir/index.ts'
import type { Location } from './ir/op.ts'
import { uses } from './ir/rewrite.ts'
import type { Config, Program, SourceFile } from './program.ts'
import type { Target, TargetName } from './target.ts'
import { targets } from './target.ts'

/**
 * Compiles a kernel for one configuration and one target. Reads source files, and nothing else.
 *
 * @throws Diagnostic for an error of the kernel's author, with a code frame.
 * @throws Bug for a fault of the compiler.
 */
export function compileKernel<A, C>(kernel: Kernel<A, C>, config: C, target: Target | TargetName): Program {
  const goal = typeof target === 'string' ? targets[target] : target
  const constants = config as unknown as Config
  const { ir, params, block, modules } = lowerKernel(kernel as unknown as Kernel, constants, goal)
  try {
    const { ptx, sharedBytes, files } = lower(ir, goal)
    const sources = sourceFiles(modules, files)
    return {
      name: kernel.name,
      target: goal.name,
      config: constants,
      ptx,
      params,
      block,
      cluster: ir.cluster ?? 1,
      // It may be launched before its predecessor ends, since it waits for that itself.
      overlaps: uses(ir.body, 'waitForPrevious'),
      sharedBytes,
      sources,
    }
  } catch (error) {
    throw error instanceof Refusal ? diagnosed(error, modules) : error
  }
}

/**
 * The errors of a kernel file without compiling its kernels: syntax and TypeScript's types. Empty if there are none.
 *
 * @throws Error if the file cannot be read.
 */
export function checkFile(path: string): Diagnostic[] {
  const full = resolve(path)
  const text = readFileSync(full, 'utf8')
  try {
    return typeErrors(full, text)
  } catch (error) {
    if (error instanceof Diagnostic) return [error]
    throw error
  }
}

function sourceFiles(modules: readonly Module[], first: readonly string[]): SourceFile[] {
  const rank = (path: string) => (first.includes(path) ? first.indexOf(path) : first.length)
  return modules
    .map(({ path, sha256 }) => ({ path, sha256 }))
    .sort((a, b) => rank(a.path) - rank(b.path) || (a.path < b.path ? -1 : 1))
}

/** The middle of the compiler knows lines; the frontend has their text. */
function diagnosed(refusal: Refusal, modules: readonly Module[]): Diagnostic {
  const { location, notes, help } = refusal.context
  const calls = []
  for (let at = location?.inlined; at; at = at.at.inlined) {
    const span = placeOf(at.at, modules)
    if (span) calls.push({ callee: at.callee, span })
  }
  return new Diagnostic(refusal.code, refusal.message, {
    span: location && placeOf(location, modules),
    notes: notes?.map((n) => ({ message: n.message, span: n.location && placeOf(n.location, modules) })),
    help,
    calls,
  })
}

/** From a location to the end of its line. */
function placeOf(location: Location, modules: readonly Module[]): Place | undefined {
  const source = modules.find((m) => m.path === location.file)?.file?.source
  if (!source) return undefined
  const start = source.lineStarts[location.line - 1]! + location.column - 1
  const rest = source.text.slice(start, source.lineStarts[location.line] ?? source.text.length)
  return { source, start, end: start + rest.trimEnd().length }
}
