import { createRequire } from 'node:module'
import type {
  CompiledGrammar as Compiled,
  GrammarCompiler as Compiler,
  GrammarMatcher as Matcher,
} from '@mlc-ai/web-xgrammar'

type XGrammar = typeof import('@mlc-ai/web-xgrammar')

export type { Compiled, Compiler, Matcher }

/** Memory of the grammar engine at most. */
const mostBytes = 2 ** 30

/**
 * Loads XGrammar into a thread that does nothing else: the package is a script for browsers which calls itself a module, so
 * it finds what it is loaded with in globals; and it says why it fails on the console alone.
 */
export async function loadXGrammar(): Promise<{ xgrammar: XGrammar; reason: () => string }> {
  const require = createRequire(import.meta.url)
  const path = require.resolve('@mlc-ai/web-xgrammar')
  const exports = {} as XGrammar
  Object.assign(globalThis, { exports, module: { exports }, require, __filename: path })
  let said: string[] = []
  const listen = (line: unknown) => {
    said.push(String(line))
  }
  console.warn = listen
  console.error = listen
  limitMemory()
  await import(path)
  return {
    xgrammar: exports,
    reason: () => {
      const fatal = said.find((line) => line.startsWith('[FATAL]'))
      said = []
      return fatal?.replace(/^\[FATAL\] \S+: /, '').slice(0, 300) ?? 'it takes too much memory'
    },
  }
}

/** Memories of WebAssembly, of which Node's types do not speak. */
interface Memory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}

function limitMemory(): void {
  const { WebAssembly } = globalThis as unknown as { WebAssembly: { Memory: { prototype: Memory } } }
  const memory = WebAssembly.Memory.prototype
  const { grow } = memory
  memory.grow = function (this: Memory, pages: number): number {
    if (this.buffer.byteLength + pages * 65_536 > mostBytes)
      throw new RangeError('the grammar takes too much memory')
    return grow.call(this, pages)
  }
}
