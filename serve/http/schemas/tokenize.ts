import { z } from 'zod'
import { tokenIds } from './common.ts'

/** The body of `POST /tokenize`. */
export const tokenizeRequest = z.object({
  model: z.string().nullish(),
  prompt: z.string(),
  add_special_tokens: z.boolean().nullish(),
})

/** The body of `POST /detokenize`. */
export const detokenizeRequest = z.object({
  model: z.string().nullish(),
  tokens: tokenIds.max(2 ** 20),
})
