import { spawn } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { pino } from 'pino'
import { wholeNumber } from '../cli/options.ts'
import { packageRoot } from '../runtime/package-root.ts'
import { GrammarThreads } from '../serve/constrain/grammar-threads.ts'
import { Engine } from '../serve/engine/engine.ts'
import { Metrics } from '../serve/http/metrics.ts'
import { ServedModel } from '../serve/http/served-model.ts'
import { createHttpServer } from '../serve/http/server.ts'
import { ChildRunner } from '../serve/process/child-runner.ts'
import { loadChatTemplate } from '../serve/text/chat-template.ts'
import { localTextService } from '../serve/text/text-service.ts'
import { loadTokenizer } from '../serve/text/tokenizer.ts'
import { runBench } from './command.ts'
import { table } from './table.ts'

interface StreamOptions {
  readonly streams: number
  readonly tokens: number
  readonly stepMs: number
}

/** Runs clients in a process of their own; returns how many events they read. */
function runClients(url: string, streams: number, body: string): Promise<number> {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  const file = fileURLToPath(new URL(`./stream-clients${extension}`, import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, file, url, String(streams), body], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.on('data', (piece) => {
    said += piece
  })
  return new Promise((resolve, reject) =>
    child.once('close', (code) =>
      code === 0 ? resolve(Number(said)) : reject(new Error(`clients ended with ${code}`)),
    ),
  )
}

await runBench(
  new Command('bench:streams')
    .description(
      'What streams cost the server: its own processor time, beside a made-up model at the pace of a GPU.',
    )
    .option('--streams <n>', 'streams at once', wholeNumber(1), 512)
    .option('--tokens <n>', 'tokens of each', wholeNumber(1), 400)
    .option('--step-ms <n>', 'milliseconds of a step', wholeNumber(1), 17)
    .action(async ({ streams, tokens, stepMs }: StreamOptions) => {
      const folder = join(packageRoot(), 'examples/models/nano-w4a8kv4')
      const tokenizer = loadTokenizer(folder)
      const chatTemplate = loadChatTemplate(folder)
      const runner = await ChildRunner.open({
        kind: 'fake',
        vocabSize: tokenizer.vocabSize,
        tokens: streams + 1024,
        sequences: streams,
        context: 2048,
        pages: 32 * streams,
        waiting: 4 * streams,
        stepMilliseconds: stepMs,
      })
      const { limits, pageTokens } = runner.ready
      const engine = await Engine.start({ limits, pageTokens, openRunner: async () => runner, failures: 0 })
      const text = localTextService(tokenizer, chatTemplate)
      const model = new ServedModel({
        ...{ name: 'nano', engine, tokenizer, text, chatTemplate },
        ...{ endIds: [], suggested: undefined },
        openConstraints: (vocabulary) => new GrammarThreads({ folder, ...vocabulary }),
      })
      const server = createHttpServer({
        ...{ model, metrics: new Metrics('nano', engine), version: '0', maxBodyBytes: 1 << 20, apiKeys: [] },
        logger: pino({ level: 'silent' }),
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      const body = JSON.stringify({
        ...{ model: 'nano', messages: [{ role: 'user', content: 'Tell me a story.' }] },
        ...{ max_tokens: tokens, stream: true },
      })
      const url = `http://127.0.0.1:${port}/v1/chat/completions`
      const before = { cpu: process.cpuUsage(), steps: engine.stats.steps, time: performance.now() }
      const events = await runClients(url, streams, body)
      const seconds = (performance.now() - before.time) / 1000
      const { user, system } = process.cpuUsage(before.cpu)
      const cpu = (user + system) / 1e6
      const generated = streams * tokens
      console.log(
        table([
          {
            streams,
            'tokens/s': generated / seconds,
            events,
            steps: engine.stats.steps - before.steps,
            'ms a step': (1000 * seconds) / (engine.stats.steps - before.steps),
            'cores used': cpu / seconds,
            'µs of processor a token': (1e6 * cpu) / generated,
          },
        ]),
      )
      await engine.close()
      server.closeAllConnections()
      server.close()
    }),
)
