import { Detokenizer, type DetokenizerOptions } from './detokenizer.ts'
import type { StopMatcher, StopResult, StopStrings } from './stop-strings.ts'
import type { Tokenizer } from './tokenizer.ts'

/** The text of a sequence that is being generated: whole characters, up to the first stop string. */
export class OutputText {
  readonly #detokenizer: Detokenizer
  readonly #matcher: StopMatcher

  constructor(tokenizer: Tokenizer, stops: StopStrings, options: DetokenizerOptions = {}) {
    this.#detokenizer = new Detokenizer(tokenizer, options)
    this.#matcher = stops.matcher()
  }

  /** The text that a token makes certain. Once `stop` is set, the sequence is over. */
  push(id: number): StopResult {
    return this.#matcher.push(this.#detokenizer.push(id))
  }

  /** What is left when the sequence ends for another reason; even that may hold a stop string. */
  end(): StopResult {
    const last = this.#matcher.push(this.#detokenizer.end())
    return last.stop === undefined ? { text: last.text + this.#matcher.end(), stop: undefined } : last
  }
}
