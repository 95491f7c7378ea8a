import type { ChoiceRequest, ChoiceToken } from '../../completion/choice.ts'
import { AssistantTurn, type MessageDelta } from '../assistant-turn.ts'
import { templateMessages } from '../chat-messages.ts'
import { choiceRequests, constrainChoices } from '../choices.ts'
import { chatConstraint } from '../constraints.ts'
import { HttpError } from '../errors.ts'
import { EventStream } from '../event-stream.ts'
import type { Exchange } from '../exchange.ts'
import { chatLogProbs } from '../log-probs.ts'
import { runChoices } from '../run-choices.ts'
import { type ChatChoice, type ChatLogProbs, type ChatRequest, chatRequest } from '../schemas/chat.ts'
import { usageOf } from '../schemas/common.ts'
import type { ServedModel } from '../served-model.ts'

type Tools = ConstructorParameters<typeof AssistantTurn>[0]

/** `POST /v1/chat/completions` */
export async function chat(exchange: Exchange): Promise<void> {
  const body = await exchange.body(chatRequest)
  exchange.requireModel(body.model)
  const { model } = exchange.context
  const tools = toolsOf(body, model)
  const prompt = await model.text.encodeChat(templateMessages(body.messages), tools ? body.tools! : undefined)
  const choices = choiceRequests(model, [prompt], {
    body,
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    topLogProbs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    client: exchange.client,
    text: tools ? { shown: model.toolTokens } : {},
  })
  const requests = await constrainChoices(model, choices, chatConstraint(body, tools?.format.name))
  exchange.log.prompt_tokens = prompt.length
  if (body.stream) await streamed(exchange, body, requests, prompt.length, tools)
  else await whole(exchange, body, requests, prompt.length, tools)
}

function toolsOf(body: ChatRequest, model: ServedModel): Tools {
  if (!body.tools?.length || body.tool_choice === 'none') return undefined
  const { toolFormat: format } = model
  if (format === undefined)
    throw new HttpError(400, `the chat template of ${model.name} has no tools; leave tools out`, {
      param: 'tools',
    })
  return { format, names: body.tools.map((tool) => tool.function.name) }
}

/** What all objects of an answer begin with. */
const headOf = ({ id, context }: Exchange) => ({
  id: `chatcmpl-${id}`,
  created: Math.floor(Date.now() / 1000),
  model: context.model.name,
})

const finishReason = (turn: AssistantTurn, reason: 'stop' | 'length'): string =>
  turn.called && reason === 'stop' ? 'tool_calls' : reason

async function whole(
  exchange: Exchange,
  body: ChatRequest,
  requests: readonly ChoiceRequest[],
  promptTokens: number,
  tools: Tools,
): Promise<void> {
  const { tokenizer } = exchange.context.model
  const turns = requests.map(() => new AssistantTurn(tools))
  const tokens = requests.map((): ChoiceToken[] => [])
  const reasons = requests.map(() => '')
  const generated = await runChoices(exchange, requests, {
    onText: (index, text, token) => {
      turns[index]!.push(text)
      if (token && body.logprobs) tokens[index]!.push(token)
    },
    onChoice: (index, reason) => {
      turns[index]!.end()
      reasons[index] = finishReason(turns[index]!, reason)
    },
  })
  exchange.log.completion_tokens = generated
  const choices = turns.map(
    ({ message }, index): ChatChoice => ({
      index,
      message,
      logprobs: body.logprobs ? chatLogProbs(tokenizer, tokens[index]!) : null,
      finish_reason: reasons[index]!,
    }),
  )
  const usage = usageOf(promptTokens, generated)
  exchange.json(200, { ...headOf(exchange), object: 'chat.completion', choices, usage })
}

async function streamed(
  exchange: Exchange,
  body: ChatRequest,
  requests: readonly ChoiceRequest[],
  promptTokens: number,
  tools: Tools,
): Promise<void> {
  const { tokenizer } = exchange.context.model
  const head = { ...headOf(exchange), object: 'chat.completion.chunk' }
  const withUsage = body.stream_options?.include_usage ?? false
  const usage = withUsage ? { usage: null } : {}
  const turns = requests.map(() => new AssistantTurn(tools))
  const send = (
    index: number,
    delta: MessageDelta,
    logprobs: ChatLogProbs | null,
    reason: string | null = null,
  ) => stream.send({ ...head, choices: [{ index, delta, logprobs, finish_reason: reason }], ...usage })
  /** Sends what a token adds; its log-probabilities go with the first part, or alone when it adds nothing. */
  const sendAll = (index: number, deltas: readonly MessageDelta[], token: ChoiceToken | undefined) => {
    const logprobs = token && body.logprobs ? chatLogProbs(tokenizer, [token]) : null
    const sent = deltas.length === 0 && logprobs ? [{}] : deltas
    for (const [i, delta] of sent.entries()) send(index, delta, i === 0 ? logprobs : null)
  }
  const running = runChoices(exchange, requests, {
    onText: (index, text, token) => sendAll(index, turns[index]!.push(text), token),
    onChoice: (index, reason) => {
      sendAll(index, turns[index]!.end(), undefined)
      send(index, {}, null, finishReason(turns[index]!, reason))
    },
  })
  // Not before the request is taken: a refusal is an answer of its own.
  const stream = new EventStream(exchange.response)
  for (const index of requests.keys()) send(index, { role: 'assistant', content: '' }, null)
  await stream.follow(exchange, async () => {
    const generated = await running
    exchange.log.completion_tokens = generated
    if (withUsage) stream.send({ ...head, choices: [], usage: usageOf(promptTokens, generated) })
  })
}
