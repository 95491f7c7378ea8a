import { Detokenizer, type DetokenizerOptions } from './detokenizer.ts'
import type { StopMatcher, StopResult, StopStrings } from './stop-strings.ts'
import type { Tokenizer } from './tokenizer.ts'

export interface OutputTextOptions extends DetokenizerOptions {
  /** Stop strings are not looked for in the text of so many tokens from the first. Default 0. */
  readonly minTokens?: number
}

/** The text of a sequence that is being generated: whole characters, up to the first stop string. */
export class OutputText {
  readonly #detokenizer: Detokenizer
  readonly #matcher: StopMatcher
  readonly #minTokens: number
  #tokens = 0

  constructor(tokenizer: Tokenizer, stops: StopStrings, options: OutputTextOptions = {}) {
    this.#detokenizer = new Detokenizer(tokenizer, options)
    this.#matcher = stops.matcher()
    this.#minTokens = options.minTokens ?? 0
  }

  /** The text that a token makes certain. Once `stop` is set, the sequence is over. */
  push(id: number): StopResult {
    const text = this.#detokenizer.push(id)
    if (this.#tokens++ < this.#minTokens) return { text, stop: undefined }
    return this.#matcher.push(text)
  }

  /** What is left when the sequence ends for another reason; even that may hold a stop string. */
  end(): StopResult {
    const last = this.#matcher.push(this.#detokenizer.end())
    return last.stop === undefined ? { text: last.text + this.#matcher.end(), stop: undefined } : last
  }
}
