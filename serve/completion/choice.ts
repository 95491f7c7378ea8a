import type { RequestListener, TokenLogProbs } from '../engine/engine.ts'
import type { InferenceEngine } from '../engine/inference-engine.ts'
import type { EngineRequest } from '../engine/request.ts'
import type { FinishReason } from '../schedule/sequence.ts'
import { OutputText, type OutputTextOptions } from '../text/output-text.ts'
import type { StopStrings } from '../text/stop-strings.ts'
import type { Tokenizer } from '../text/tokenizer.ts'

/** One answer that is wanted: a request of the engine, and how its tokens become text. */
export interface ChoiceRequest {
  readonly request: EngineRequest
  readonly stops: StopStrings
  readonly text?: Omit<OutputTextOptions, 'minTokens'>
}

export interface ChoiceToken {
  readonly id: number
  readonly logProbs: TokenLogProbs | undefined
}

export interface ChoiceListener {
  /** The engine begins with it; again after it had to wait once more. */
  onBegin?(): void
  /**
   * A token, and the text that it makes certain: none, as when a character waits for its last token. At the end there may
   * be text without a token.
   */
  onText(text: string, token: ChoiceToken | undefined): void
  /** The end; `tokens` is how many were generated. With an error the choice was not completed. */
  onEnd(end: { readonly reason: FinishReason; readonly tokens: number; readonly error?: Error }): void
}

/** An answer on its way. */
export class Choice implements RequestListener {
  readonly #engine: InferenceEngine
  readonly #listener: ChoiceListener
  readonly #output: OutputText
  readonly #id: number
  #tokens = 0
  #ended = false

  /** Hands a request to the engine. Throws what its `add` throws. */
  constructor(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    choice: ChoiceRequest,
    listener: ChoiceListener,
  ) {
    const { request, stops, text } = choice
    const { minTokens = 0 } = request.sampling
    this.#engine = engine
    this.#listener = listener
    this.#output = new OutputText(tokenizer, stops, { ...text, minTokens })
    this.#id = engine.add(request, this)
  }

  /** Drops the request; the listener hears nothing more. */
  cancel(): void {
    this.#ended = true
    this.#engine.cancel(this.#id)
  }

  onBegin(): void {
    this.#listener.onBegin?.()
  }

  onToken(id: number, finished: FinishReason | undefined, logProbs: TokenLogProbs | undefined): void {
    this.#tokens++
    if (finished === 'stop') {
      this.#end('stop')
      return
    }
    const { text, stop } = this.#output.push(id)
    this.#listener.onText(text, { id, logProbs })
    if (stop !== undefined) {
      this.#engine.cancel(this.#id)
      this.#finish('stop')
    } else if (finished) this.#end(finished)
  }

  onEnd(error?: Error): void {
    if (this.#ended) return
    if (error === undefined) {
      this.#end('stop')
      return
    }
    this.#ended = true
    this.#listener.onEnd({ reason: 'stop', tokens: this.#tokens, error })
  }

  /** No token comes any more: what was held back is text, up to a stop string that it may still have. */
  #end(reason: FinishReason): void {
    const { text, stop } = this.#output.end()
    if (text !== '') this.#listener.onText(text, undefined)
    this.#finish(stop === undefined ? reason : 'stop')
  }

  #finish(reason: FinishReason): void {
    if (this.#ended) return
    this.#ended = true
    this.#listener.onEnd({ reason, tokens: this.#tokens })
  }
}
