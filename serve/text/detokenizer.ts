import type { Tokenizer } from './tokenizer.ts'

/**
 * Turns a stream of token ids into a stream of text that never ends within a character. The texts of all `push` calls
 * and of `end`, joined, are what `decode` gives for all ids at once.
 */
export class Detokenizer {
  readonly #tokenizer: Tokenizer
  readonly #skipSpecial: boolean
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(tokenizer: Tokenizer, { skipSpecial = true }: { readonly skipSpecial?: boolean } = {}) {
    this.#tokenizer = tokenizer
    this.#skipSpecial = skipSpecial
  }

  /** The text that a token completes; empty while a character waits for more bytes. */
  push(id: number): string {
    if (this.#skipSpecial && this.#tokenizer.isSpecial(id)) return ''
    return this.#decoder.decode(this.#tokenizer.bytesOf(id), { stream: true })
  }

  /** What is left: U+FFFD for bytes that never became a character, otherwise nothing. */
  end(): string {
    return this.#decoder.decode()
  }
}
