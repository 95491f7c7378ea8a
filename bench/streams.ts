import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { wholeNumber } from '../cli/options.ts'
import { startFakeServer } from './child-server.ts'
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
      const server = await startFakeServer({
        sequences: streams,
        pages: 32 * streams,
        stepMilliseconds: stepMs,
        waiting: 4 * streams,
      })
      const { engine } = server
      const body = JSON.stringify({
        ...{ model: 'served', messages: [{ role: 'user', content: 'Tell me a story.' }] },
        ...{ max_tokens: tokens, stream: true },
      })
      const url = `${server.url}/v1/chat/completions`
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
      await server.close()
    }),
)
