/** A request as the scheduler sees it. */
export interface ScheduleRequest {
  readonly prompt: ArrayLike<number>
  /** Tokens that it has already generated elsewhere, before its engine was restarted. */
  readonly generated?: ArrayLike<number>
  /** Generated tokens at most, those of `generated` included. */
  readonly maxTokens: number
  /** Tokens that end the sequence. */
  readonly stopIds: readonly number[]
  /** Requests of a lower number go first, and may take the place of running ones. Default 0. */
  readonly priority?: number
  /** Among requests of one priority, clients take turns. Default: one client for all. */
  readonly client?: string
  /** What its next token may be depends on the tokens before, so that these have to be read first. Default false. */
  readonly constrained?: boolean
}

/** What a scheduler may use. */
export interface ScheduleLimits {
  /** Tokens of one step; at least `sequences`, so that every sequence that decodes has one. */
  readonly tokens: number
  /** Sequences that run at once. */
  readonly sequences: number
  /** Pages of the key/value cache. */
  readonly pages: number
  /** Tokens of one sequence, prompt and output. */
  readonly context: number
  /** Requests that may wait. */
  readonly waiting: number
  /** Pages that admission leaves free, for running sequences to grow into. */
  readonly watermark: number
  /**
   * As long as prompts fill whole steps, sequences that decode wait: all then decode together, which is soonest for all of
   * them, and later for those that came first. Default: they decode beside prompts.
   */
  readonly promptsFirst?: boolean
}

/** A request that is not taken. */
export class RefusalError extends Error {
  override readonly name = 'RefusalError'
  /** Whether the request itself can never run, or there is only no room for it now. */
  readonly reason: 'impossible' | 'full'

  constructor(reason: 'impossible' | 'full', message: string) {
    super(message)
    this.reason = reason
  }
}

/** Pages that a sequence of so many tokens fills or begins. */
export const pagesOf = (tokens: number, pageTokens: number): number => Math.ceil(tokens / pageTokens)

/** Throws `RefusalError` for a request that could not run even alone. */
export function checkRequest(request: ScheduleRequest, limits: ScheduleLimits, pageTokens: number): void {
  const { prompt, maxTokens, generated } = request
  const refuse = (message: string): never => {
    throw new RefusalError('impossible', message)
  }
  if (prompt.length === 0) refuse('the prompt has no tokens; give at least one')
  if (!Number.isInteger(maxTokens) || maxTokens < 1)
    refuse(`maxTokens is ${maxTokens}; ask for at least one token`)
  if (generated && generated.length >= maxTokens)
    refuse(`${generated.length} of ${maxTokens} tokens have been generated; nothing is left to do`)
  if (prompt.length + maxTokens > limits.context)
    refuse(
      `the prompt's ${prompt.length} tokens and ${maxTokens} new ones exceed the context of ${limits.context} tokens; ` +
        'shorten the prompt or ask for fewer tokens',
    )
  // Nothing attends to the last token, so it needs no place.
  const pages = pagesOf(prompt.length + maxTokens - 1, pageTokens)
  if (pages > limits.pages)
    refuse(`the request needs ${pages} pages of the key/value cache and there are ${limits.pages}`)
}
