import { randomBytes } from 'node:crypto'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Command } from 'commander'
import { pino } from 'pino'
import { type BatchRequest, countLines } from '../serve/batch/batch-file.ts'
import { type BatchAnswer, runBatch } from '../serve/batch/run-batch.ts'
import { Metrics } from '../serve/http/metrics.ts'
import { createHttpServer } from '../serve/http/server.ts'
import { serveModel } from '../serve/serve-model.ts'
import {
  addRandomWeightsOptions,
  modelHelp,
  type RandomWeightsOptions,
  servedFolder,
} from './model-folder.ts'
import { deviceOption, gpusOption, wholeNumber } from './options.ts'
import { packageVersion } from './package-info.ts'
import { progressBar } from './progress.ts'

interface BatchOptions extends RandomWeightsOptions {
  readonly model?: string
  readonly name?: string
  readonly device?: string
  readonly gpus?: readonly string[]
  readonly sequences?: number
  readonly stepTokens?: number
  readonly context: number
  readonly pages?: number
}

export const batchCommand = (): Command =>
  addRandomWeightsOptions(new Command('batch'))
    .description('Answer the requests of an OpenAI Batch file. Run again, it goes on where it ended.')
    .argument('<input>', 'file of one request a line: {"custom_id", "method", "url", "body"}')
    .argument('<output>', 'file of one answer a line, in any order; what it has is not asked again')
    .option('--model <model>', modelHelp)
    .option('--name <name>', "what requests call the model (default: its folder's name)")
    .addOption(deviceOption())
    .addOption(gpusOption())
    .option(
      '--sequences <n>',
      'sequences that run at once (default: 512 on a GPU, 32 on the emulator)',
      wholeNumber(1),
    )
    .option('--step-tokens <n>', 'tokens of one step (default: 4096, or 512)', wholeNumber(1))
    .option('--context <n>', 'tokens of one sequence, prompt and output', wholeNumber(1), 8192)
    .option(
      '--pages <n>',
      'pages of 64 tokens in the cache (default: what memory has room for; on the emulator, what is needed)',
      wholeNumber(1),
    )
    .addHelpText(
      'after',
      `
Example:
  $ quattuor batch in.jsonl out.jsonl --model models/llama-w4a8kv4`,
    )
    .action(batch)

async function batch(input: string, output: string, options: BatchOptions): Promise<void> {
  // What is wrong with the file is told before a model is loaded.
  await countLines(input)
  const loading = progressBar('Loading')
  const { folder, name } = await servedFolder(options.model, options)
  const { model, ready } = await serveModel(folder, {
    ...options,
    name: options.name ?? name,
    devices: options.gpus,
    waiting: 1e6,
    textThreads: 1,
    promptsFirst: true,
    stepMilliseconds: 120_000,
    onProgress: ({ done, total }) => loading.update(done, total),
  }).finally(loading.stop)
  // Twice as many requests as run, so that none of them ends without another to take its place.
  const concurrency = 2 * ready.reduce((sum, { limits }) => sum + limits.sequences, 0)
  const key = randomBytes(16).toString('hex')
  // The requests go through the server, so that they are checked and answered as they would be by `serve`.
  const server = createHttpServer({
    model,
    metrics: new Metrics(model.name, model.engine),
    version: packageVersion(),
    maxBodyBytes: 64 * 2 ** 20,
    apiKeys: [key],
    logger: pino({ level: 'error' }, process.stderr),
  })
  const bar = progressBar('Answering')
  try {
    const url = await listen(server)
    const answer = (request: BatchRequest) => post(url, key, request)
    const { total, resumed, failed } = await runBatch(input, output, {
      concurrency,
      answer,
      onProgress: bar.update,
    })
    bar.stop()
    const [before, ofThese] =
      resumed > 0 ? [`, ${resumed} of them before`, ' of those answered now'] : ['', '']
    console.error(`${total} requests answered${before}; ${failed}${ofThese} with an error`)
  } finally {
    bar.stop()
    server.closeAllConnections()
    server.close()
    await model.close()
  }
}

const listen = (server: Server): Promise<string> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
  })

async function post(url: string, key: string, request: BatchRequest): Promise<BatchAnswer> {
  const response = await fetch(url + request.url, {
    method: request.method,
    headers: { authorization: `Bearer ${key}` },
    // An answer is one object, whatever the request says.
    body: JSON.stringify({ ...request.body, stream: false }),
  })
  return {
    status: response.status,
    requestId: response.headers.get('x-request-id') ?? '',
    body: await response.json(),
  }
}
