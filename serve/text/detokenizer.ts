import type { Tokenizer } from './tokenizer.ts'

export interface DetokenizerOptions {
  /** Leaves special tokens out. Default true. */
  readonly skipSpecial?: boolean
  /** Special tokens that are text all the same, such as those that open a tool call. */
  readonly shown?: ReadonlySet<number>
  /** Text stands before these tokens, so that a space that they begin with is their own. Default false. */
  readonly continues?: boolean
}

/**
 * Turns a stream of token ids into a stream of text that never ends within a character. The texts of all `push` calls
 * and of `end`, joined, are what `decode` gives for all ids at once.
 */
export class Detokenizer {
  readonly #tokenizer: Tokenizer
  readonly #skipSpecial: boolean
  readonly #shown: ReadonlySet<number>
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  #dropsSpace: boolean

  constructor(tokenizer: Tokenizer, options: DetokenizerOptions = {}) {
    const { skipSpecial = true, shown = new Set(), continues = false } = options
    this.#tokenizer = tokenizer
    this.#skipSpecial = skipSpecial
    this.#shown = shown
    this.#dropsSpace = tokenizer.dropsLeadingSpace && !continues
  }

  /** The text that a token completes; empty while a character waits for more bytes. */
  push(id: number): string {
    if (this.#skipSpecial && this.#tokenizer.isSpecial(id) && !this.#shown.has(id)) return ''
    return this.#afterSpace(this.#decoder.decode(this.#tokenizer.bytesOf(id), { stream: true }))
  }

  /** What is left: U+FFFD for bytes that never became a character, otherwise nothing. */
  end(): string {
    return this.#afterSpace(this.#decoder.decode())
  }

  #afterSpace(text: string): string {
    if (!this.#dropsSpace || text === '') return text
    this.#dropsSpace = false
    return text.startsWith(' ') ? text.slice(1) : text
  }
}
