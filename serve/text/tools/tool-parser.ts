import { CallReader } from './call-reader.ts'
import { pushEvent, type ToolEvent } from './tool-events.ts'
import type { ToolFormat } from './tool-format.ts'

/** A call whose name has not come by then is text; no real one waits so long. */
const longestUnnamed = 4096

/** Reads on until it lacks text, then yields. */
type Reading<T> = Generator<void, T, void>

/**
 * Takes the calls of tools out of what a model says, as it says it; what comes out does not depend on where the pieces end.
 * Something that begins like a call and is none is text. White space around calls is dropped.
 */
export class ToolParser {
  readonly #format: ToolFormat
  readonly #toolNames: ReadonlySet<string>
  readonly #reading: Reading<void>
  /** Text from the last place that reading may come back to. */
  #input = ''
  /** What was read of it. */
  #at = 0
  #ended = false
  #events: ToolEvent[] = []
  #calls = 0
  /** White space at the end of the text so far. */
  #space = ''
  /** Whether a call was the last thing that was read. */
  #afterCall = false

  /** `toolNames` are the tools of the request. */
  constructor(format: ToolFormat, toolNames: Iterable<string>) {
    this.#format = format
    this.#toolNames = new Set(toolNames)
    this.#reading = this.#readMessage()
  }

  /** What the next piece of text makes certain. */
  push(text: string): ToolEvent[] {
    this.#input += text
    return this.#read()
  }

  /** What is left at the end. A call that was cut off after its name stays one. */
  end(): ToolEvent[] {
    this.#ended = true
    const events = this.#read()
    if (this.#calls === 0) pushEvent(events, { type: 'text', text: this.#space })
    return events
  }

  #read(): ToolEvent[] {
    this.#reading.next()
    const events = this.#events
    this.#events = []
    return events
  }

  *#readMessage(): Reading<void> {
    if (this.#format.bare) yield* this.#readBareCalls()
    while (yield* this.#readText()) yield* this.#readCalls()
  }

  *#readBareCalls(): Reading<void> {
    yield* this.#skip(/\s/)
    const isTool = (name: string) => this.#toolNames.has(name)
    if ((yield* this.#peek()) === '{' && (yield* this.#readCall(isTool))) yield* this.#readAfterCall(isTool)
    else this.#at = 0
  }

  /** Reads text up to an opening and past it; returns false at the end of the message. */
  *#readText(): Reading<boolean> {
    const { opening } = this.#format
    for (;;) {
      const text = this.#input.slice(this.#at)
      const place = text.indexOf(opening)
      const certain = place >= 0 ? place : this.#ended ? text.length : text.length - overlap(text, opening)
      this.#say(text.slice(0, certain))
      this.#input = text.slice(certain)
      this.#at = 0
      if (place >= 0) {
        this.#at = opening.length
        return true
      }
      if (this.#ended) return false
      yield
    }
  }

  /** Reads what follows an opening; when that is no call, the opening was text. */
  *#readCalls(): Reading<void> {
    const { opening, list, named } = this.#format
    const any = () => true
    yield* this.#skip(/\s/)
    const inList = list && (yield* this.#accept('['))
    if (inList) yield* this.#skip(/\s/)
    if ((yield* this.#peek()) === '{') {
      if (yield* this.#readCall(any)) return yield* this.#readAfterCall(any, inList)
    } else if (named && !inList && (yield* this.#readNamedCall())) return
    this.#say(opening)
    this.#at = opening.length
  }

  /** Reads one object; returns whether it is a call, even if one that breaks off. */
  *#readCall(isTool: (name: string) => boolean): Reading<boolean> {
    const { reader, isNamed } = this.#callReader(isTool)
    yield* this.#feed(reader, isNamed, () => false)
    return isNamed()
  }

  /** Reads `NAME{…}`, with marks like `[ARGS]` between. */
  *#readNamedCall(): Reading<boolean> {
    const name = yield* this.#skip(/[\w.-]/)
    if (yield* this.#accept('[CALL_ID]')) yield* this.#skip(/\w/)
    yield* this.#accept('[ARGS]')
    yield* this.#skip(/\s/)
    if (name === '' || (yield* this.#peek()) !== '{') return false
    const { reader, isNamed } = this.#callReader(() => true)
    for (const character of `{"name":"${name}","arguments":`) reader.push(character)
    yield* this.#feed(reader, isNamed, () => reader.complete)
    return true
  }

  /** Gives characters to a reader until its object closes, cannot be one, or `isDone`. */
  *#feed(reader: CallReader, isNamed: () => boolean, isDone: () => boolean): Reading<void> {
    for (let length = 1; !isDone(); length++) {
      // A call that has a name is never text again.
      if (isNamed() && this.#at === this.#input.length) this.#forget()
      const character = yield* this.#peek()
      if (character === undefined) return
      const state = reader.push(character)
      if (state === 'invalid' || (!isNamed() && length > longestUnnamed)) return
      this.#at++
      if (state === 'closed') return
    }
  }

  #callReader(isTool: (name: string) => boolean): { reader: CallReader; isNamed: () => boolean } {
    const index = this.#calls
    const reader = new CallReader({
      onName: (name) => {
        if (!isTool(name)) return false
        this.#calls++
        this.#space = ''
        this.#afterCall = true
        this.#events.push({ type: 'call', index, name })
        return true
      },
      onArguments: (text) => pushEvent(this.#events, { type: 'arguments', index, text }),
    })
    return { reader, isNamed: () => this.#calls > index }
  }

  /** Reads what belongs to the calls after one of them. */
  *#readAfterCall(isTool: (name: string) => boolean, inList = true): Reading<void> {
    const { between, repeats, closing, list } = this.#format
    if (list && !inList) return
    for (;;) {
      const end = this.#at
      yield* this.#skip(between)
      if (closing !== undefined && (yield* this.#accept(closing))) return
      if (repeats && (yield* this.#peek()) === '{' && (yield* this.#readCall(isTool))) continue
      this.#at = end
      return
    }
  }

  /** The next character; `undefined` at the end of the message. */
  *#peek(): Reading<string | undefined> {
    while (this.#at === this.#input.length && !this.#ended) yield
    return this.#input[this.#at]
  }

  /** Reads a text if it is what comes next. */
  *#accept(text: string): Reading<boolean> {
    while (text.startsWith(this.#input.slice(this.#at)) && this.#input.length - this.#at < text.length) {
      if (this.#ended) return false
      yield
    }
    if (!this.#input.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  /** Reads characters of a kind, which it returns. */
  *#skip(kind: RegExp): Reading<string> {
    const start = this.#at
    for (;;) {
      const character = yield* this.#peek()
      if (character === undefined || !kind.test(character)) return this.#input.slice(start, this.#at)
      this.#at++
    }
  }

  #forget(): void {
    this.#input = this.#input.slice(this.#at)
    this.#at = 0
  }

  #say(text: string): void {
    const heard = this.#space + (this.#afterCall ? text.trimStart() : text)
    if (heard === '') return
    this.#afterCall = false
    const kept = heard.trimEnd()
    this.#space = heard.slice(kept.length)
    pushEvent(this.#events, { type: 'text', text: kept })
  }
}

/** How much of the end of a text may begin `opening`. */
function overlap(text: string, opening: string): number {
  for (let length = Math.min(text.length, opening.length - 1); length > 0; length--)
    if (text.endsWith(opening.slice(0, length))) return length
  return 0
}
