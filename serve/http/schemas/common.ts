import { z } from 'zod'
import { MOST_TOP_LOG_PROBS } from '../../sampling.ts'

/** Choices of one request: prompts times `n`. */
export const mostChoices = 128
const mostStops = 16
const longestStop = 1024
const mostBiases = 400
export const mostTopLogProbs = MOST_TOP_LOG_PROBS

const tokenId = z
  .int()
  .min(0)
  .max(2 ** 31 - 1)

export const tokenIds = z.array(tokenId)

/** Fields that choose tokens, the same for both kinds of completion. All may be null, as clients send them. */
export const samplingFields = {
  temperature: z.number().min(0).max(2).nullish().describe('0 takes the likeliest token'),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z
    .int()
    .min(-1)
    .max(2 ** 31 - 1)
    .nullish()
    .describe('0 or -1 keeps all tokens'),
  min_p: z.number().min(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  repetition_penalty: z.number().min(0.01).max(100).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d{1,10}$/, 'is no token id'), z.number().min(-100).max(100))
    .refine((biases) => Object.keys(biases).length <= mostBiases, `has more than ${mostBiases} entries`)
    .nullish(),
  seed: z.int().nullish().describe('the same seed gives the same tokens'),
  n: z.int().min(1).max(mostChoices).nullish(),
  stop: z
    .union([z.string().min(1).max(longestStop), z.array(z.string().min(1).max(longestStop)).max(mostStops)])
    .nullish(),
  stop_token_ids: tokenIds.max(mostStops).nullish(),
  ignore_eos: z.boolean().nullish().describe("goes on after the model's end tokens"),
  min_tokens: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .nullish(),
  priority: z.int().min(-1000).max(1000).nullish().describe('lower goes first'),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  user: z.string().max(1024).nullish(),
}

/** `model` of a request. */
export const modelName = z.string().min(1).max(1024)

/** Fields that mean something and are not supported may only be sent with their neutral value. */
export function onlyNeutral<T extends z.ZodType>(neutral: T, what: string) {
  return z.union([neutral, z.null()], { error: `${what} is not supported` }).optional()
}

const jsonSchema = z.union([z.record(z.string(), z.unknown()), z.boolean()], { error: 'is no JSON Schema' })
const choices = z.array(z.string().min(1).max(4096)).min(1).max(4096)

/** What the text is to be, by OpenAI's name. */
export const responseFormat = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json_object') }),
    z.object({
      type: z.literal('json_schema'),
      json_schema: z.object({
        name: z.string().max(256).nullish(),
        description: z.string().nullish(),
        schema: jsonSchema.nullish(),
        strict: z.boolean().nullish(),
      }),
    }),
  ],
  { error: 'has the type text, json_object or json_schema' },
)

/** What the text is to be, by the names of OpenAI and of vLLM, old and new. */
export const constraintFields = {
  response_format: responseFormat.nullish(),
  guided_json: z.union([jsonSchema, z.string()]).nullish().describe('a JSON Schema, or one as a text'),
  guided_regex: z.string().min(1).nullish().describe('the whole text matches'),
  guided_choice: choices.nullish(),
  guided_grammar: onlyNeutral(z.literal(''), 'guided_grammar'),
  structured_outputs: z
    .strictObject({
      json: z.union([jsonSchema, z.string()]).nullish(),
      regex: z.string().min(1).nullish(),
      choice: choices.nullish(),
      json_object: z.boolean().nullish(),
    })
    .nullish()
    .describe('one of json, regex, choice and json_object'),
}

export interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
}

export const usageOf = (promptTokens: number, completionTokens: number): Usage => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
})
