import { z } from 'zod'
import { constraintFields, modelName, mostTopLogProbs, samplingFields } from './common.ts'

const mostMessages = 4096
const mostTools = 128

const textPart = z.object({
  type: z.literal('text', { error: 'only parts of text are supported' }),
  text: z.string(),
})

const content = z.union([z.string(), z.array(textPart).max(mostMessages)])

const toolCall = z.object({
  id: z.string().max(256),
  type: z.literal('function'),
  function: z.object({ name: z.string().min(1).max(256), arguments: z.string() }),
})

const message = z.discriminatedUnion('role', [
  z.object({ role: z.enum(['system', 'developer']), content, name: z.string().nullish() }),
  z.object({ role: z.literal('user'), content, name: z.string().nullish() }),
  z.object({
    role: z.literal('assistant'),
    content: content.nullish(),
    name: z.string().nullish(),
    tool_calls: z.array(toolCall).max(mostTools).nullish(),
  }),
  z.object({ role: z.literal('tool'), content, tool_call_id: z.string().max(256) }),
])

export type Message = z.infer<typeof message>

const tool = z.object({
  type: z.literal('function'),
  function: z.object({
    name: z.string().regex(/^[\w.-]{1,64}$/, 'has letters, digits, _, - and ., 64 at most'),
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
})

/** The body of `POST /v1/chat/completions`. */
export const chatRequest = z.object({
  model: modelName,
  messages: z.array(message).min(1).max(mostMessages),
  ...samplingFields,
  ...constraintFields,
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(mostTopLogProbs).nullish(),
  tools: z.array(tool).max(mostTools).nullish(),
  tool_choice: z
    .union(
      [
        z.enum(['none', 'auto', 'required']),
        z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }),
      ],
      { error: 'is "none", "auto", "required" or {"type": "function", "function": {"name": …}}' },
    )
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
})

export type ChatRequest = z.infer<typeof chatRequest>

export interface ChatLogProb {
  readonly token: string
  readonly logprob: number
  readonly bytes: readonly number[]
}

export interface ChatLogProbs {
  readonly content: readonly (ChatLogProb & { readonly top_logprobs: readonly ChatLogProb[] })[]
  readonly refusal: null
}

export interface ChatToolCall {
  readonly id: string
  readonly type: 'function'
  readonly function: { readonly name: string; readonly arguments: string }
}

export interface ChatChoice {
  readonly index: number
  readonly message: {
    readonly role: 'assistant'
    readonly content: string | null
    readonly refusal: null
    readonly tool_calls?: readonly ChatToolCall[]
  }
  readonly logprobs: ChatLogProbs | null
  readonly finish_reason: string
}
