import { randomInt } from 'node:crypto'
import type { z } from 'zod'
import { Choice, type ChoiceListener, type ChoiceRequest } from '../completion/choice.ts'
import type { ConstraintSpec } from '../constrain/constraint-spec.ts'
import type { TokenConstraint } from '../engine/constraint.ts'
import type { Sampling } from '../sampling.ts'
import type { DetokenizerOptions } from '../text/detokenizer.ts'
import { StopStrings } from '../text/stop-strings.ts'
import type { samplingFields } from './schemas/common.ts'
import type { ServedModel } from './served-model.ts'

type SamplingBody = { [K in keyof typeof samplingFields]?: z.infer<(typeof samplingFields)[K]> }

/** What the choices of a request have in common. */
export interface ChoiceSettings {
  readonly body: SamplingBody
  /** Tokens at most; without it, as many as the context has room for. */
  readonly maxTokens: number | undefined
  /** Likeliest tokens to report; `undefined` reports nothing. */
  readonly topLogProbs: number | undefined
  /** Whom the scheduler counts the request to. */
  readonly client: string
  readonly text?: DetokenizerOptions
}

/** What the engine is asked for: `n` choices for each prompt, which differ in their seeds. */
export function choiceRequests(
  model: ServedModel,
  prompts: readonly ArrayLike<number>[],
  { body, maxTokens, topLogProbs, client, text }: ChoiceSettings,
): ChoiceRequest[] {
  const n = body.n ?? 1
  const seed = body.seed ?? randomInt(2 ** 47)
  const stops = new StopStrings(
    body.stop == null ? [] : typeof body.stop === 'string' ? [body.stop] : body.stop,
  )
  const stopIds = [...(body.ignore_eos ? [] : model.endIds), ...(body.stop_token_ids ?? [])]
  const sampling = samplingOf(body, model, topLogProbs)
  return prompts.flatMap((prompt) =>
    Array.from({ length: n }, (_, i) => ({
      request: {
        prompt,
        maxTokens: maxTokens ?? Math.max(1, model.roomAfter(prompt.length)),
        stopIds,
        client,
        priority: body.priority ?? 0,
        sampling: { ...sampling, seed: choiceSeed(seed, i) },
      },
      stops,
      // A prompt that is not empty stands before the text.
      text: { ...text, continues: true },
    })),
  )
}

function samplingOf(
  body: SamplingBody,
  { suggested }: ServedModel,
  topLogProbs: number | undefined,
): Omit<Sampling, 'seed'> {
  return {
    temperature: body.temperature ?? (suggested?.sample === false ? 0 : (suggested?.temperature ?? 1)),
    topK: Math.max(0, body.top_k ?? suggested?.topK ?? 0),
    topP: body.top_p ?? suggested?.topP ?? 1,
    minP: body.min_p ?? 0,
    repetitionPenalty: body.repetition_penalty ?? suggested?.repetitionPenalty ?? 1,
    presencePenalty: body.presence_penalty ?? 0,
    frequencyPenalty: body.frequency_penalty ?? 0,
    minTokens: body.min_tokens ?? 0,
    logitBias: new Map(Object.entries(body.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias])),
    ...(topLogProbs === undefined ? {} : { topLogProbs }),
  }
}

/** Seeds are whole numbers from 0; clients may send negative ones. */
function choiceSeed(seed: number, choice: number): number {
  const wrapped = (seed < 0 ? seed + 2 ** 53 : seed) + choice
  return wrapped < 2 ** 53 ? wrapped : wrapped - 2 ** 53
}

/** Gives each choice a constraint of its own to follow. Rejects with `ConstraintError`. */
export async function constrainChoices(
  { constraints }: ServedModel,
  requests: readonly ChoiceRequest[],
  spec: ConstraintSpec | undefined,
): Promise<readonly ChoiceRequest[]> {
  if (spec === undefined) return requests
  const opened = await Promise.allSettled(requests.map(() => constraints.open(spec)))
  const failure = opened.find((one) => one.status === 'rejected')
  if (failure) {
    for (const one of opened) if (one.status === 'fulfilled') one.value.close()
    throw failure.reason
  }
  return requests.map((choice, i) => {
    const constraint = (opened[i] as PromiseFulfilledResult<TokenConstraint>).value
    return { ...choice, request: { ...choice.request, constrained: true, constraint } }
  })
}

/** Starts all choices or, when one of them is refused, none. Returns what drops them. */
export function startChoices(
  model: ServedModel,
  requests: readonly ChoiceRequest[],
  listenerOf: (index: number) => ChoiceListener,
): () => void {
  const choices: Choice[] = []
  const cancel = () => {
    for (const choice of choices) choice.cancel()
  }
  try {
    for (const [index, request] of requests.entries())
      choices.push(new Choice(model.engine, model.tokenizer, request, listenerOf(index)))
  } catch (error) {
    cancel()
    for (const { request } of requests.slice(choices.length)) request.constraint?.close()
    throw error
  }
  return cancel
}
