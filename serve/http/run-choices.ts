import type { ChoiceRequest, ChoiceToken } from '../completion/choice.ts'
import { startChoices } from './choices.ts'
import type { Exchange } from './exchange.ts'

/** Gets the answers of a request as they come. */
export interface AnswerListener {
  onText(index: number, text: string, token: ChoiceToken | undefined): void
  /** One choice is complete. */
  onChoice(index: number, reason: 'stop' | 'length', tokens: number): void
}

/**
 * Runs the choices of a request to their ends; throws when they are refused. The promise is of how many tokens were
 * generated. It rejects with the first error, the other choices dropped. When the client goes away all are dropped, and it
 * never settles.
 */
export function runChoices(
  exchange: Exchange,
  requests: readonly ChoiceRequest[],
  listener: AnswerListener,
): Promise<number> {
  const { model, metrics } = exchange.context
  let resolve!: (tokens: number) => void
  let reject!: (error: Error) => void
  const done = new Promise<number>((onDone, onError) => {
    resolve = onDone
    reject = onError
  })
  let left = requests.length
  let total = 0
  const cancel = startChoices(model, requests, (index) => {
    const measured = metrics.follow(requests[index]!.request.prompt.length)
    return {
      onBegin: () => measured.begin(),
      onText: (text, token) => {
        if (token) measured.token()
        listener.onText(index, text, token)
      },
      onEnd: ({ reason, tokens, error }) => {
        measured.end(error ? 'error' : reason, tokens)
        total += tokens
        if (error) {
          cancel()
          reject(error)
          return
        }
        listener.onChoice(index, reason, tokens)
        if (--left === 0) resolve(total)
      },
    }
  })
  exchange.onGone(() => {
    cancel()
    exchange.log.gone = 'the client went away'
  })
  return done
}
