import { relative } from 'node:path'
import type { ErrorCode } from './error-codes.ts'
import { errorCodes } from './error-codes.ts'
import type { Location } from './ir/op.ts'

/** A place in a source file, with the text around it. Structurally, a span of `frontend/syntax.ts`. */
export interface Place {
  readonly source: { readonly path: string; readonly text: string; readonly lineStarts: readonly number[] }
  readonly start: number
  readonly end: number
}

/** Another place that has part in an error, and what it contributes. */
export interface Note {
  readonly message: string
  readonly span?: Place
}

/** A call that was inlined on the way to the error, innermost first. */
export interface InlinedCall {
  readonly callee: string
  readonly span: Place
}

export interface DiagnosticDetails {
  readonly span?: Place
  readonly notes?: readonly Note[]
  /** Static values in force at the place, as `name = value`. */
  readonly values?: readonly string[]
  /** What to write instead. */
  readonly help?: string
  readonly calls?: readonly InlinedCall[]
}

/** A kernel author's error. `message` is the sentence; `render` gives the code frame. */
export class Diagnostic extends Error {
  readonly code: ErrorCode
  readonly sentence: string
  /** What is known of the error beside its sentence. Not `details`, which test runners take for text. */
  context: DiagnosticDetails

  constructor(code: ErrorCode, sentence: string, details: DiagnosticDetails = {}) {
    super(sentence)
    this.name = 'Diagnostic'
    this.code = code
    this.sentence = sentence
    this.context = details
    // What goes uncaught, Node prints with its enumerable fields: sources and all.
    for (const field of ['name', 'code', 'sentence', 'context'])
      Object.defineProperty(this, field, { enumerable: false })
    this.#refresh()
  }

  /** Adds what an outer level knows and the inner one did not. */
  add(details: DiagnosticDetails): void {
    this.context = { ...details, ...withoutUndefined(this.context) }
    this.#refresh()
  }

  /** The title of the error's code. */
  get title(): string {
    return errorCodes[this.code].title
  }

  /** The code frame. File names are relative to `from`, the current directory unless given. */
  render(from = process.cwd()): string {
    const { span, notes = [], values = [], help, calls = [] } = this.context
    const name = (place: Place) => whereIs(place, from)
    const header = span ? `${this.code}  ${this.sentence}  ${name(span)}` : `${this.code}  ${this.sentence}`
    const lines = [header]
    if (span) lines.push(...frame(span))
    const items: string[] = []
    for (const note of notes)
      items.push(note.span ? `note  ${note.message}  ${name(note.span)}` : `note  ${note.message}`)
    if (values.length > 0) items.push(`with  ${values.join(', ')}`)
    for (const [i, call] of calls.entries()) {
      const hidden = calls.length - shownCalls
      if (hidden > 1 && i >= shownCalls - 1 && i < calls.length - 1) {
        if (i === shownCalls - 1) items.push(`in    … ${hidden} more calls`)
      } else items.push(`in    ${call.callee}, called at ${name(call.span)}`)
    }
    if (help !== undefined) items.push(`help  ${help}`)
    for (const [i, item] of items.entries()) {
      const [first, ...rest] = item.split('\n')
      const last = i === items.length - 1
      lines.push(`     ${last ? '└' : '├'} ${first}`)
      for (const line of rest) lines.push(`     ${last ? ' ' : '│'}       ${line}`)
    }
    return lines.join('\n')
  }

  toJSON(): Record<string, unknown> {
    const { span, notes = [], values = [], help, calls = [] } = this.context
    return {
      code: this.code,
      title: this.title,
      message: this.sentence,
      range: span && range(span),
      notes: notes.map((n) => ({ message: n.message, range: n.span && range(n.span) })),
      values,
      calls: calls.map((c) => ({ callee: c.callee, range: range(c.span) })),
      help,
    }
  }

  #refresh(): void {
    this.message = this.render()
    this.stack = `Diagnostic: ${this.message}`
  }
}

/** A fault of the compiler. Nothing in a kernel should cause one. */
export class Bug extends Error {
  readonly at: Location | undefined

  constructor(message: string, at?: Location, options?: ErrorOptions) {
    const place = at ? ` (compiling ${at.file}:${at.line}:${at.column})` : ''
    super(`The compiler has a fault: ${message}${place}. Please report it with the kernel.`, options)
    this.name = 'Bug'
    this.at = at
  }
}

/** Calls of a chain that are shown, the outermost among them. */
const shownCalls = 5

function position(place: Place, offset: number): { line: number; column: number } {
  const { lineStarts } = place.source
  let line = 0
  while (line + 1 < lineStarts.length && lineStarts[line + 1]! <= offset) line++
  return { line: line + 1, column: offset - lineStarts[line]! + 1 }
}

function range(place: Place) {
  return { file: place.source.path, start: position(place, place.start), end: position(place, place.end) }
}

function whereIs(place: Place, from: string): string {
  const { line, column } = position(place, place.start)
  const path = relative(from, place.source.path)
  return `${path.startsWith('..') ? place.source.path : path}:${line}:${column}`
}

/** The line before the error's, its own, and a line of carets. */
function frame(place: Place): string[] {
  const { text, lineStarts } = place.source
  const { line, column } = position(place, place.start)
  const lineOf = (n: number) =>
    text.slice(lineStarts[n - 1]!, lineStarts[n] ?? text.length).replace(/\r?\n$/, '')
  const own = lineOf(line)
  const lines: string[] = []
  const number = (n: number) => `${String(n).padStart(4)} │ `
  if (line > 1 && lineOf(line - 1).trim() !== '') lines.push(number(line - 1) + lineOf(line - 1))
  lines.push(number(line) + own)
  const length = Math.max(1, Math.min(place.end, lineStarts[line - 1]! + own.length) - place.start)
  lines.push(`     │ ${' '.repeat(column - 1)}${'^'.repeat(length)}`)
  return lines
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T
}
