import { z } from 'zod'
import {
  constraintFields,
  modelName,
  mostTopLogProbs,
  onlyNeutral,
  samplingFields,
  tokenIds,
} from './common.ts'

const mostPrompts = 128

/** The body of `POST /v1/completions`. */
export const completionRequest = z
  .object({
    model: modelName,
    prompt: z.union(
      [
        z.string(),
        tokenIds.min(1),
        z.array(z.string()).min(1).max(mostPrompts),
        z.array(tokenIds.min(1)).min(1).max(mostPrompts),
      ],
      { error: 'is a text, a list of token ids, or a list of either' },
    ),
    ...samplingFields,
    ...constraintFields,
    max_tokens: z.int().min(1).nullish(),
    logprobs: z.int().min(0).max(mostTopLogProbs).nullish(),
    echo: onlyNeutral(z.literal(false), 'echo'),
    suffix: onlyNeutral(z.literal(''), 'suffix'),
    best_of: z.int().min(1).nullish(),
  })
  .refine((body) => body.best_of == null || body.best_of === (body.n ?? 1), {
    path: ['best_of'],
    error: 'has to be n, which chooses among no more than are given',
  })

export type CompletionRequest = z.infer<typeof completionRequest>

export interface CompletionLogProbs {
  readonly tokens: readonly string[]
  readonly token_logprobs: readonly number[]
  readonly top_logprobs: readonly Readonly<Record<string, number>>[]
  readonly text_offset: readonly number[]
}

export interface CompletionChoice {
  readonly index: number
  readonly text: string
  readonly logprobs: CompletionLogProbs | null
  readonly finish_reason: string | null
}
