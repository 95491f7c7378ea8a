import type { ChoiceRequest, ChoiceToken } from '../../completion/choice.ts'
import { choiceRequests, constrainChoices } from '../choices.ts'
import { textConstraint } from '../constraints.ts'
import { HttpError } from '../errors.ts'
import { EventStream } from '../event-stream.ts'
import type { Exchange } from '../exchange.ts'
import { completionLogProbs, tokenText } from '../log-probs.ts'
import { runChoices } from '../run-choices.ts'
import { mostChoices, usageOf } from '../schemas/common.ts'
import { type CompletionChoice, type CompletionRequest, completionRequest } from '../schemas/completion.ts'

/** What OpenAI generates when nobody says how much. */
const defaultMaxTokens = 16

/** `POST /v1/completions` */
export async function completions(exchange: Exchange): Promise<void> {
  const body = await exchange.body(completionRequest)
  exchange.requireModel(body.model)
  const { model } = exchange.context
  const prompts = await Promise.all(
    promptsOf(body.prompt).map((prompt) =>
      typeof prompt === 'string' ? model.text.encodeText(prompt, true) : prompt,
    ),
  )
  const n = body.n ?? 1
  if (prompts.length * n > mostChoices)
    throw new HttpError(
      400,
      `${prompts.length} prompts with ${n} choices each are more than ${mostChoices}`,
      {
        param: 'n',
      },
    )
  const shortest = Math.min(...prompts.map((prompt) => model.roomAfter(prompt.length)))
  const choices = choiceRequests(model, prompts, {
    body,
    maxTokens: body.max_tokens ?? Math.max(1, Math.min(defaultMaxTokens, shortest)),
    topLogProbs: body.logprobs ?? undefined,
    client: exchange.client,
  })
  const requests = await constrainChoices(model, choices, textConstraint(body))
  const promptTokens = prompts.reduce((sum, { length }) => sum + length, 0)
  exchange.log.prompt_tokens = promptTokens
  if (body.stream) await streamed(exchange, body, requests, promptTokens)
  else await whole(exchange, body, requests, promptTokens)
}

function promptsOf(prompt: CompletionRequest['prompt']): readonly (string | readonly number[])[] {
  if (typeof prompt === 'string') return [prompt]
  return typeof prompt[0] === 'number' ? [prompt as number[]] : (prompt as (string | number[])[])
}

/** What all objects of an answer begin with. */
const headOf = ({ id, context }: Exchange) =>
  ({
    id: `cmpl-${id}`,
    object: 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model: context.model.name,
  }) as const

async function whole(
  exchange: Exchange,
  body: CompletionRequest,
  requests: readonly ChoiceRequest[],
  promptTokens: number,
): Promise<void> {
  const { tokenizer } = exchange.context.model
  const texts = requests.map(() => '')
  const tokens = requests.map((): ChoiceToken[] => [])
  const reasons = requests.map(() => '')
  const generated = await runChoices(exchange, requests, {
    onText: (index, text, token) => {
      texts[index] += text
      if (token && body.logprobs != null) tokens[index]!.push(token)
    },
    onChoice: (index, reason) => {
      reasons[index] = reason
    },
  })
  exchange.log.completion_tokens = generated
  const choices = requests.map(
    (_, index): CompletionChoice => ({
      index,
      text: texts[index]!,
      logprobs: body.logprobs == null ? null : completionLogProbs(tokenizer, tokens[index]!, 0),
      finish_reason: reasons[index]!,
    }),
  )
  exchange.json(200, { ...headOf(exchange), choices, usage: usageOf(promptTokens, generated) })
}

async function streamed(
  exchange: Exchange,
  body: CompletionRequest,
  requests: readonly ChoiceRequest[],
  promptTokens: number,
): Promise<void> {
  const { tokenizer } = exchange.context.model
  const head = headOf(exchange)
  const withUsage = body.stream_options?.include_usage ?? false
  const usage = withUsage ? { usage: null } : {}
  const offsets = requests.map(() => 0)
  const send = (choice: CompletionChoice) => stream.send({ ...head, choices: [choice], ...usage })
  const running = runChoices(exchange, requests, {
    onText: (index, text, token) => {
      const told = token && body.logprobs != null
      if (text === '' && !told) return
      const logprobs = told ? completionLogProbs(tokenizer, [token], offsets[index]!) : null
      if (told) offsets[index]! += tokenText(tokenizer, token.id).length
      send({ index, text, logprobs, finish_reason: null })
    },
    onChoice: (index, reason) => send({ index, text: '', logprobs: null, finish_reason: reason }),
  })
  // Not before the request is taken: a refusal is an answer of its own.
  const stream = new EventStream(exchange.response)
  await stream.follow(exchange, async () => {
    const generated = await running
    exchange.log.completion_tokens = generated
    if (withUsage) stream.send({ ...head, choices: [], usage: usageOf(promptTokens, generated) })
  })
}
