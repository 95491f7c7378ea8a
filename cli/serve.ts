import { createServer, type Server } from 'node:net'
import { Command, Option } from 'commander'
import { pino } from 'pino'
import { Metrics } from '../serve/http/metrics.ts'
import { createHttpServer } from '../serve/http/server.ts'
import type { ReadyMessage } from '../serve/process/runner-spec.ts'
import { serveModel } from '../serve/serve-model.ts'
import { UsageError } from './failure.ts'
import { sayImportNotes } from './import-notes.ts'
import {
  addRandomWeightsOptions,
  modelHelp,
  type RandomWeightsOptions,
  servedFolder,
} from './model-folder.ts'
import { collect, deviceOption, gpusOption, numberBetween, wholeNumber } from './options.ts'
import { packageVersion } from './package-info.ts'
import { bytesText, progressBar } from './progress.ts'
import { tableText } from './table.ts'

interface ServeOptions extends RandomWeightsOptions {
  readonly host: string
  readonly port: number
  readonly device?: string
  readonly gpus?: readonly string[]
  readonly name?: string
  readonly apiKey: readonly string[]
  readonly sequences?: number
  readonly stepTokens?: number
  readonly context: number
  readonly pages?: number
  readonly memoryFraction: number
  readonly waiting: number
  readonly textThreads: number
  readonly stepTimeout: number
  readonly drainTimeout: number
  readonly maxBody: number
  readonly logLevel: string
}

export const serveCommand = (): Command =>
  addRandomWeightsOptions(new Command('serve'))
    .description('Serve a model over HTTP, as the OpenAI API does.')
    .argument('[model]', modelHelp)
    .option('--host <address>', 'address to listen on; 0.0.0.0 lets other machines in', '127.0.0.1')
    .option('-p, --port <n>', 'port to listen on; 0 takes any', wholeNumber(0, 65_535), 8000)
    .addOption(deviceOption())
    .addOption(gpusOption())
    .option('--name <name>', "what clients call the model (default: its folder's name)")
    .addOption(
      new Option('--api-key <key>', 'key that clients send; may be repeated; also QUATTUOR_API_KEY')
        .argParser(collect)
        .default([], 'none'),
    )
    .option(
      '--sequences <n>',
      'sequences that run at once (default: 256 on a GPU, 32 on the emulator)',
      wholeNumber(1),
    )
    .option(
      '--step-tokens <n>',
      'tokens of one step, of which prompts get what decoding leaves (default: 2048, or 512)',
      wholeNumber(1),
    )
    .option('--context <n>', 'tokens of one sequence, prompt and output', wholeNumber(1), 8192)
    .option(
      '--pages <n>',
      'pages of 64 tokens in the cache (default: what memory has room for; on the emulator, what is needed)',
      wholeNumber(1),
    )
    .option('--memory-fraction <f>', "part of the GPU's memory that may be used", numberBetween(0.01, 1), 0.9)
    .option('--waiting <n>', 'requests that may wait; more get 429', wholeNumber(1), 1024)
    .option('--text-threads <n>', 'threads that make tokens of prompts', wholeNumber(1), 1)
    .option('--step-timeout <s>', 'seconds after which a step has failed', wholeNumber(1), 120)
    .option('--drain-timeout <s>', 'seconds that requests have to end after SIGTERM', wholeNumber(0), 30)
    .option('--max-body <MiB>', 'size of a request', wholeNumber(1), 4)
    .addOption(
      new Option('--log-level <level>', 'what is logged')
        .choices(['fatal', 'error', 'warn', 'info', 'debug', 'silent'])
        .default('info'),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ quattuor serve examples/models/nano-w4a8kv4
  $ curl http://127.0.0.1:8000/v1/completions -H 'content-type: application/json' \\
      -d '{"model": "nano-w4a8kv4", "prompt": "Once upon a time", "max_tokens": 40}'`,
    )
    .action(serve)

async function serve(wanted: string | undefined, options: ServeOptions): Promise<void> {
  const started = performance.now()
  const logger = pino({ level: options.logLevel })
  const bar = progressBar('Loading')
  const { folder, name } = await servedFolder(wanted, options)
  await checkAddress(options)
  const { model, ready, notes } = await serveModel(folder, {
    ...options,
    name: options.name ?? name,
    devices: options.gpus,
    stepMilliseconds: 1000 * options.stepTimeout,
    // Weights, then graphs; the emulator has none.
    onProgress: ({ what, done, total }) =>
      bar.update(Math.round((what === 'graphs' ? 50 : 0) + (50 * done) / total), 100),
    onRestart: ({ message }) => logger.error({ reason: message }, 'the engine is started anew'),
  }).finally(bar.stop)
  sayImportNotes(notes)
  const { engine } = model
  const [first, ...others] = ready as [ReadyMessage, ...ReadyMessage[]]
  const { limits, memory } = first
  const each = others.length === 0 ? '' : ' each'
  const cells = Object.entries(memory)
    .filter(([, bytes]) => bytes > 0)
    .map(([part, bytes]) => [part, bytesText(bytes)] as const)
  console.error(
    tableText(
      ['device', others.length === 0 ? first.device : `${first.device}, and ${others.length} more`],
      [
        ...cells,
        ['cache', `${limits.pages} pages of ${first.pageTokens} tokens${each}`],
        ['context', `${limits.context} tokens`],
        ['at once', `${limits.sequences} sequences, ${limits.tokens} tokens a step${each}`],
      ],
    ),
  )
  const server = createHttpServer({
    model,
    metrics: new Metrics(model.name, engine),
    version: packageVersion(),
    maxBodyBytes: options.maxBody * 2 ** 20,
    apiKeys: [...options.apiKey, ...(process.env.QUATTUOR_API_KEY ? [process.env.QUATTUOR_API_KEY] : [])],
    logger,
  })
  const url = await listen(server, options).catch(async (error: Error) => {
    await model.close()
    throw error
  })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const laps = Object.entries(first.seconds).map(([part, lap]) => `${part} ${lap.toFixed(1)} s`)
  console.error(`${model.name} is ready on ${url} after ${seconds} s (${laps.join(', ')})`)
  const signal = await Promise.race([nextSignal(), engine.finished.then(() => undefined)])
  if (signal !== undefined) {
    logger.info({ signal }, 'no more requests are taken; those that run may end')
    server.close()
    await Promise.race([engine.drain(), nextSignal(), wait(options.drainTimeout)])
  }
  await model.close()
  server.closeAllConnections()
  server.close()
  if (engine.failed) throw engine.closed!.cause
}

/** Tells what is wrong with an address before a model is loaded. */
async function checkAddress(options: ServeOptions): Promise<void> {
  const server = createServer()
  await listen(server, options)
  await new Promise((resolve) => server.close(resolve))
}

/** Listens, and returns the URL. Throws `UsageError`. */
function listen(server: Server, { host, port }: ServeOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', ({ code, message }: NodeJS.ErrnoException) =>
      reject(
        new UsageError(
          code === 'EADDRINUSE'
            ? `port ${port} of ${host} is taken; choose another with --port`
            : `port ${port} of ${host} cannot be listened on (${message}); choose others with --host and --port`,
        ),
      ),
    )
    server.listen(port, host, () => {
      const address = server.address()
      resolve(`http://${host}:${typeof address === 'object' ? address!.port : port}`)
    })
  })
}

const nextSignal = (): Promise<NodeJS.Signals> =>
  new Promise((resolve) => {
    const take = (signal: NodeJS.Signals) => {
      process.off('SIGTERM', take).off('SIGINT', take)
      resolve(signal)
    }
    process.on('SIGTERM', take).on('SIGINT', take)
  })

const wait = (seconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, 1000 * seconds).unref())
