import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { ts as TypeScript } from 'ts-morph'
import { Diagnostic } from '../diagnostics.ts'
import { Converter } from './source-convert.ts'
import type { FileNode, SourceText } from './syntax.ts'

export type { ts } from 'ts-morph'

/**
 * The only way to TypeScript: parses a file's text into the nodes of `syntax.ts`.
 *
 * The parser is loaded on the first parse (0.2 s), through `require`, which is twice as fast here as `import`.
 */

export type TypeScriptApi = typeof TypeScript
type Morph = typeof import('ts-morph')
let loaded: Morph | undefined

function morph(): Morph {
  loaded ??= createRequire(import.meta.url)('ts-morph') as Morph
  return loaded
}

export const typescript = (): TypeScriptApi => morph().ts

/** A program of one file and what it imports, with TypeScript's libraries, which ts-morph carries. */
export function programOf(path: string, compilerOptions: TypeScript.CompilerOptions): TypeScript.Program {
  const project = new (morph().Project)({ compilerOptions })
  project.addSourceFileAtPath(path)
  return project.getProgram().compilerObject
}

interface ParsedFile {
  readonly node: FileNode
  readonly sha256: string
}
const parsed = new Map<string, ParsedFile>()

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** The syntax tree of a file and the SHA-256 of its text; kept until the text changes. Throws if it cannot be read. */
export function parseFile(path: string): ParsedFile {
  const text = readFileSync(path, 'utf8')
  const hash = sha256(text)
  const known = parsed.get(path)
  if (known?.sha256 === hash) return known
  const file = { node: parse(path, text), sha256: hash }
  parsed.set(path, file)
  return file
}

/** The syntax tree of a text. Throws `Diagnostic` E0001 where it does not parse. */
export function parse(path: string, text: string): FileNode {
  const ts = typescript()
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, false, ts.ScriptKind.TS)
  const source: SourceText = { path, text, lineStarts: file.getLineStarts() }
  const problem = (file as unknown as { parseDiagnostics: TypeScript.DiagnosticWithLocation[] })
    .parseDiagnostics[0]
  if (problem) {
    const message = ts.flattenDiagnosticMessageText(problem.messageText, ' ')
    const span = { source, start: problem.start, end: problem.start + problem.length }
    throw new Diagnostic('E0001', message, { span })
  }
  return new Converter(ts, source, file).convert()
}
