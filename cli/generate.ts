import { Command, InvalidArgumentError, Option } from 'commander'
import { checkContext, type GenerationConfig } from '../checkpoint/config.ts'
import type { Checkpoint } from '../checkpoint/open.ts'
import { PAGE_TOKENS } from '../kernels/formats/kv.ts'
import { Model } from '../models/model.ts'
import { openModel } from '../models/open-model.ts'
import { openDevice } from '../runtime/open-device.ts'
import type { Engine } from '../serve/engine/engine.ts'
import { complete, startOnModel } from '../serve/engine/local-engine.ts'
import type { EngineRequest } from '../serve/engine/request.ts'
import type { FinishReason } from '../serve/schedule/sequence.ts'
import { Detokenizer } from '../serve/text/detokenizer.ts'
import { loadTokenizer, type Tokenizer } from '../serve/text/tokenizer.ts'
import { UsageError } from './failure.ts'
import { sayImportNotes } from './import-notes.ts'
import { checkKnownTokens } from './known-tokens.ts'
import { modelFolder, modelHelp } from './model-folder.ts'
import { collect, deviceOption, jsonOption, numberBetween, wholeNumber } from './options.ts'
import { progressBar } from './progress.ts'

interface GenerateOptions {
  readonly prompt: readonly string[]
  readonly chat: readonly string[]
  readonly maxTokens?: number
  readonly temperature?: number
  readonly topK?: number
  readonly topP?: number
  readonly minP: number
  readonly repetitionPenalty?: number
  readonly presencePenalty: number
  readonly frequencyPenalty: number
  readonly minTokens: number
  readonly logitBias: readonly (readonly [id: number, value: number])[]
  readonly seed: number
  readonly device?: string
  readonly json?: boolean
}

export const generateCommand = (): Command =>
  new Command('generate')
    .description('Continue a prompt, streaming the text.')
    .argument('<model>', modelHelp)
    .addOption(textsOption('-p, --prompt <text>', 'text to continue; give it several times to run a batch'))
    .addOption(textsOption('-c, --chat <text>', "a user's message, put into the model's chat template"))
    .option('-n, --max-tokens <n>', 'tokens to generate at most (default: 128, or what fits)', wholeNumber(1))
    .option('-t, --temperature <t>', "0 is greedy (default: the model's suggestion)", numberBetween(0, 100))
    .option('--top-k <k>', 'keep the k most likely tokens; 0 keeps all', wholeNumber(0))
    .option('--top-p <p>', 'keep the most likely tokens that make up p', numberBetween(0, 1))
    .option('--min-p <p>', 'keep tokens at least p times as likely as the likeliest', numberBetween(0, 1), 0)
    .option(
      '--repetition-penalty <r>',
      "divides the logits of tokens in prompt and output; 1 is none (default: the model's suggestion)",
      numberBetween(0.01, 100),
    )
    .option(
      '--presence-penalty <p>',
      'subtracted from logits of tokens in the output',
      numberBetween(-100, 100),
      0,
    )
    .option('--frequency-penalty <p>', 'the same for each occurrence', numberBetween(-100, 100), 0)
    .option('--min-tokens <n>', 'tokens before the text may end', wholeNumber(0), 0)
    .addOption(
      new Option('--logit-bias <id=value>', 'added to the logit of a token; -inf forbids it; may be repeated')
        .argParser(collectBias)
        .default([], 'none'),
    )
    .option('--seed <n>', 'the same seed gives the same text', wholeNumber(0), 0)
    .addOption(deviceOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  $ quattuor generate examples/models/nano-w4a8kv4 --prompt "Once upon a time"
  $ quattuor generate MODEL --chat "Tell me a story about a fox." --temperature 0.8 --seed 7
  $ quattuor generate MODEL --prompt "The river" --max-tokens 64 --temperature 0 --json`,
    )
    .action(generate)

const textsOption = (flags: string, description: string): Option =>
  new Option(flags, description).argParser(collect).default([], 'none')

/** One prompt and what has come of it. */
interface Generation {
  readonly request: EngineRequest
  readonly detokenizer: Detokenizer
  readonly ids: number[]
  text: string
  finished: FinishReason | undefined
}

async function generate(model: string, options: GenerateOptions): Promise<void> {
  if (options.prompt.length + options.chat.length === 0)
    throw new UsageError('there is nothing to continue; give --prompt TEXT or --chat TEXT')
  const started = performance.now()
  const folder = await modelFolder(model)
  const checkpoint = openModel(folder)
  sayImportNotes(checkpoint.foreign?.notes)
  const tokenizer = loadTokenizer(folder)
  const generations = (await requestsOf(folder, options, tokenizer, checkpoint)).map(
    (request): Generation => ({
      request,
      detokenizer: new Detokenizer(tokenizer),
      ids: [],
      text: '',
      finished: undefined,
    }),
  )
  const longest = Math.max(...generations.map(({ request }) => request.prompt.length + request.maxTokens))
  checkContext(checkpoint.config, longest)

  const device = await openDevice(options.device)
  try {
    performance.mark('quattuor:load')
    const bar = progressBar('Loading')
    const pagesPerSequence = Math.ceil(longest / PAGE_TOKENS)
    const model = await Model.load(device, checkpoint, {
      limits: {
        tokens: Math.max(256, generations.length),
        sequences: generations.length,
        pagesPerSequence,
        logitRows: generations.length,
      },
      pages: pagesPerSequence * generations.length,
      onProgress: bar.update,
    }).finally(bar.stop)
    performance.mark('quattuor:loaded')
    const streaming = !options.json && generations.length === 1
    const loaded = performance.now()
    const emit = (text: string) => {
      if (streaming) process.stdout.write(text)
    }
    const engine = await startOnModel(model)
    const timing = await runAll(engine, generations, options.prompt[0] ?? '', emit).finally(() =>
      engine.close(),
    )
    report(generations, options, {
      device: device.name,
      loadSeconds: (loaded - started) / 1000,
      ...timing,
    })
  } finally {
    await device.close()
    checkpoint.close()
  }
}

async function requestsOf(
  folder: string,
  options: GenerateOptions,
  tokenizer: Tokenizer,
  { config, generationConfig }: Checkpoint,
): Promise<EngineRequest[]> {
  const render = options.chat.length > 0 ? await chatRenderer(folder) : String
  const prompts = [
    ...options.prompt.map((text) => tokenizer.encode(text)),
    ...options.chat.map((content) => tokenizer.encode(render(content), { addSpecial: false })),
  ]
  for (const prompt of prompts) checkKnownTokens(prompt, config, folder)
  const sampling = {
    temperature: options.temperature ?? suggestedTemperature(generationConfig),
    topK: options.topK ?? generationConfig?.topK ?? 0,
    topP: options.topP ?? generationConfig?.topP ?? 1,
    minP: options.minP,
    repetitionPenalty: options.repetitionPenalty ?? generationConfig?.repetitionPenalty ?? 1,
    presencePenalty: options.presencePenalty,
    frequencyPenalty: options.frequencyPenalty,
    minTokens: options.minTokens,
    logitBias: new Map(options.logitBias),
    seed: options.seed,
  }
  return prompts.map((prompt) => ({
    prompt,
    maxTokens: maxTokensOf(prompt.length, config.maxPositions, options),
    sampling,
    stopIds: config.eosIds,
  }))
}

/** Of a model whose authors say nothing, or that it is not to be sampled, the temperature is 0. */
function suggestedTemperature(suggested: GenerationConfig | undefined): number {
  return suggested?.sample === false ? 0 : (suggested?.temperature ?? 0)
}

/** `ID=VALUE`, one more for the list. Throws `InvalidArgumentError` where that is none. */
function collectBias(
  text: string,
  before: readonly (readonly [id: number, value: number])[],
): (readonly [id: number, value: number])[] {
  const [, id, value] = /^(\d+)=(-inf|[-+\d.e]+)$/.exec(text) ?? []
  const bias = value === '-inf' ? Number.NEGATIVE_INFINITY : Number(value)
  if (id === undefined || Number.isNaN(bias))
    throw new InvalidArgumentError('It must be a token id and a number, or -inf, as in 13=-2.5.')
  return [...before, [Number(id), bias]]
}

/** Puts a user's message into the model's chat template, whose engine is loaded only here. */
async function chatRenderer(folder: string): Promise<(content: string) => string> {
  const { loadChatTemplate } = await import('../serve/text/chat-template.ts')
  const template = loadChatTemplate(folder)
  if (!template) throw new UsageError(`${folder} has no chat template; use --prompt`)
  return (content) => template.render([{ role: 'user', content }])
}

/** Tokens to generate after a prompt: as many as asked for, else 128 or what the context has room for. */
function maxTokensOf(
  promptTokens: number,
  context: number,
  { maxTokens: wanted, minTokens }: Pick<GenerateOptions, 'maxTokens' | 'minTokens'>,
): number {
  const room = context - promptTokens
  if (room < 1)
    throw new UsageError(
      `the prompt has ${promptTokens} tokens and the model's context is ${context}; shorten it`,
    )
  if (wanted !== undefined && wanted > room)
    throw new UsageError(
      `the prompt's ${promptTokens} tokens and ${wanted} new ones make ${promptTokens + wanted}, and the model's ` +
        `context is ${context}; shorten the prompt or lower --max-tokens to ${room}`,
    )
  const most = wanted ?? Math.min(128, room)
  if (minTokens > most)
    throw new UsageError(
      `--min-tokens ${minTokens} is more than the ${most} tokens that are generated at most; lower it or raise --max-tokens`,
    )
  return most
}

interface Timing {
  /** Seconds until the first token, and from there to the end. */
  readonly promptSeconds: number
  readonly decodeSeconds: number
}

async function runAll(
  engine: Engine,
  generations: readonly Generation[],
  opening: string,
  emit: (text: string) => void,
): Promise<Timing> {
  const started = performance.now()
  let first: number | undefined
  const running = generations.map((generation) =>
    complete(engine, generation.request, (id, finished) => {
      first ??= performance.now()
      let text = ''
      if (id !== undefined) {
        generation.ids.push(id)
        text = generation.detokenizer.push(id)
      }
      if (finished) text += generation.detokenizer.end()
      generation.text += text
      generation.finished = finished
      emit(text)
    }),
  )
  emit(opening)
  performance.mark('quattuor:first-step')
  await Promise.all(running)
  const ended = performance.now()
  return {
    promptSeconds: ((first ?? ended) - started) / 1000,
    decodeSeconds: (ended - (first ?? ended)) / 1000,
  }
}

function report(
  generations: readonly Generation[],
  options: GenerateOptions,
  run: Timing & { readonly device: string; readonly loadSeconds: number },
): void {
  // The first token of each sequence is the prompt's work; the rate is that of the others.
  const decoded = generations.reduce((sum, { ids }) => sum + Math.max(0, ids.length - 1), 0)
  const tokensPerSecond = run.decodeSeconds > 0 ? decoded / run.decodeSeconds : 0
  const results = generations.map(({ request, ids, text, finished }) => ({
    text,
    ids,
    promptTokens: request.prompt.length,
    tokens: ids.length,
    finishReason: finished,
    tokensPerSecond,
    device: run.device,
  }))
  if (options.json) {
    console.log(JSON.stringify(results.length === 1 ? results[0] : results))
    return
  }
  if (results.length > 1) for (const [i, { text }] of results.entries()) console.log(`--- ${i + 1}\n${text}`)
  else process.stdout.write('\n')
  const promptTokens = results.reduce((sum, result) => sum + result.promptTokens, 0)
  console.error(
    `\n${promptTokens} prompt tokens in ${run.promptSeconds.toFixed(2)} s, ` +
      `${decoded} tokens at ${tokensPerSecond.toFixed(1)} tok/s on ${run.device} ` +
      `(loaded in ${run.loadSeconds.toFixed(2)} s)`,
  )
}
