import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import OpenAI from 'openai'
import { pino } from 'pino'
import { GrammarThreads } from '../../serve/constrain/grammar-threads.ts'
import { Engine } from '../../serve/engine/engine.ts'
import type { StepRunner } from '../../serve/engine/step-runner.ts'
import { Metrics } from '../../serve/http/metrics.ts'
import { ServedModel } from '../../serve/http/served-model.ts'
import { createHttpServer } from '../../serve/http/server.ts'
import type { ScheduleLimits } from '../../serve/schedule/request.ts'
import { type ChatTemplate, loadChatTemplate } from '../../serve/text/chat-template.ts'
import { localTextService } from '../../serve/text/text-service.ts'
import { loadTokenizer } from '../../serve/text/tokenizer.ts'

export const nanoFolder = fileURLToPath(new URL('../../examples/models/nano-w4a8kv4/', import.meta.url))
export const nanoTokenizer = loadTokenizer(nanoFolder)
/** The end of a turn. */
export const nanoEnd = nanoTokenizer.idOf('<|eot_id|>')!

export interface ServiceOptions {
  readonly openRunner: (limits: ScheduleLimits) => StepRunner
  readonly limits?: Partial<ScheduleLimits>
  readonly apiKeys?: readonly string[]
  readonly maxBodyBytes?: number
  /** Default: that of the example model; `null`: none. */
  readonly chatTemplate?: ChatTemplate | null
}

export interface Service {
  readonly url: string
  readonly engine: Engine
  readonly server: Server
  /** The official client, without retries. */
  readonly client: OpenAI
  /** What was logged. */
  readonly log: Record<string, unknown>[]
  close(): Promise<void>
}

/** Serves a made-up model, with the tokenizer of the example model, on a port of this machine. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const limits = {
    tokens: 256,
    sequences: 32,
    pages: 512,
    context: 1024,
    waiting: 256,
    watermark: 4,
    ...options.limits,
  }
  const engine = await Engine.start({
    limits,
    pageTokens: 64,
    openRunner: async () => options.openRunner(limits),
  })
  const { chatTemplate = loadChatTemplate(nanoFolder) } = options
  const model = new ServedModel({
    name: 'nano',
    engine,
    tokenizer: nanoTokenizer,
    text: localTextService(nanoTokenizer, chatTemplate ?? undefined),
    chatTemplate: chatTemplate ?? undefined,
    openConstraints: (vocabulary) => new GrammarThreads({ folder: nanoFolder, ...vocabulary }),
    endIds: [nanoEnd],
    suggested: undefined,
  })
  const log: Record<string, unknown>[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => log.push(JSON.parse(line)) })
  const server = createHttpServer({
    model,
    metrics: new Metrics(model.name, engine),
    version: '1.2.3',
    maxBodyBytes: options.maxBodyBytes ?? 1 << 20,
    apiKeys: options.apiKeys ?? [],
    logger,
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: options.apiKeys?.[0] ?? 'none', maxRetries: 0 })
  const close = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await model.close()
  }
  return { url, engine, server, client, log, close }
}
