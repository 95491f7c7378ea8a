import { request } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Command } from 'commander'
import { deviceOption, wholeNumber } from '../cli/options.ts'
import { uniform } from '../models/uniform.ts'
import { Engine } from '../serve/engine/engine.ts'
import { FakeRunner } from '../serve/engine/fake-runner.ts'
import { complete } from '../serve/engine/local-engine.ts'
import { greedy } from '../serve/sampling.ts'
import { type ChildServer, startDeviceServer, startFakeServer } from './child-server.ts'
import { runBench } from './command.ts'
import type { Row } from './results.ts'
import { folderOf } from './startup/command.ts'
import { table } from './table.ts'

const streams = 64

/** The text of a stream; `stopAfter` so many events the client is gone, and the text is what had come. */
function readStream(url: string, body: object, stopAfter = Number.POSITIVE_INFINITY): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request(`${url}/v1/completions`, { method: 'POST', agent: false }, (response) => {
      let text = ''
      let events = 0
      const leave = () => {
        call.destroy()
        resolve(text)
      }
      if (stopAfter === 0) return leave()
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
        if (++events >= stopAfter) leave()
      })
      response.on('end', () => resolve(textOf(text)))
      response.on('error', (error) => (events >= stopAfter ? resolve(text) : reject(error)))
    })
    call.on('error', (error) => (stopAfter < Number.POSITIVE_INFINITY ? resolve('') : reject(error)))
    call.end(JSON.stringify(body))
  })
}

/** The pieces of a stream, joined. Throws where it did not end as it should. */
function textOf(stream: string): string {
  const events = stream.split('\n\n').filter((event) => event.startsWith('data: '))
  if (events.pop() !== 'data: [DONE]') throw new Error(`a stream broke off: ${stream.slice(-200)}`)
  return events
    .map((event) => JSON.parse(event.slice(6)) as { choices?: readonly { text: string }[]; error?: object })
    .map(({ choices, error }) => {
      if (error) throw new Error(`a stream ended with ${JSON.stringify(error)}`)
      return choices?.[0]?.text ?? ''
    })
    .join('')
}

const bodyOf = (seed: number, tokens: number) => ({
  ...{
    model: 'served',
    prompt: Array.from({ length: 3 + (seed % 90) }, (_, i) => 300 + ((i * 7 + seed) % 500)),
  },
  ...{ max_tokens: tokens + (seed % 50), temperature: 0.8, seed, stream: true },
})

const waitUntil = async (holds: () => boolean) => {
  while (!holds()) await setTimeout(1)
}

/** Kills the process that runs steps, over and over, under streams, each of which must give what it gives in peace. */
async function kill(server: ChildServer, times: number): Promise<Row> {
  const all = (tokens: number) =>
    Promise.all(Array.from({ length: streams }, (_, seed) => readStream(server.url, bodyOf(seed, tokens))))
  // The longest prompt and the longest output with it are in the context.
  const tokens = Math.min(60 * times, server.engine.limits.context - 150)
  const expected = await all(tokens)
  const { restarts } = server.engine.stats
  const running = all(tokens)
  let longest = 0
  for (let i = 0; i < times; i++) {
    const { steps } = server.engine.stats
    await waitUntil(() => server.engine.stats.steps >= steps + 8)
    const killed = performance.now()
    process.kill(server.runner.pid!, 'SIGKILL')
    await waitUntil(() => server.engine.stats.restarts > restarts + i)
    await waitUntil(() => server.engine.stats.steps > steps + 16)
    longest = Math.max(longest, performance.now() - killed)
  }
  const texts = await running
  const same = texts.filter((text, i) => text === expected[i]).length
  if (same !== streams) throw new Error(`${streams - same} of ${streams} streams have other texts`)
  const { heldPages } = server.engine.stats
  await server.close()
  return { killed: times, streams, 'same texts': same, 'longest pause, ms': longest, 'pages held': heldPages }
}

/** Clients that go away at some moment, and then the pages that are not free. */
async function disconnect(times: number, seed: number): Promise<Row> {
  const server = await startFakeServer({ sequences: 32, pages: 400, stepMilliseconds: 1, waiting: 1e6 })
  const random = uniform(seed)
  let left = times
  const canary = await readStream(server.url, bodyOf(1, 20))
  const client = async () => {
    while (left-- > 0) {
      const body = bodyOf(Math.floor(1000 * random()), 50)
      await readStream(server.url, body, Math.floor(12 * random()))
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: streams }, client))
  await waitUntil(() => server.engine.stats.running + server.engine.stats.waiting === 0)
  const seconds = (performance.now() - start) / 1000
  const { heldPages } = server.engine.stats
  if (heldPages !== 0) throw new Error(`${heldPages} pages are held by nobody`)
  if ((await readStream(server.url, bodyOf(1, 20))) !== canary) throw new Error('the canary has another text')
  await server.close()
  return { disconnected: times, seconds, 'pages held': heldPages, canary: 'same' }
}

/** Megabytes of the heap and of the process after collecting what nobody holds. */
function memory(): { heap: number; resident: number } {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
  const { heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed / 2 ** 20, resident: rss / 2 ** 20 }
}

/** Steps of requests of every kind, one after the other; memory at tenths of the way. */
async function flat(steps: number, seed: number): Promise<Row[]> {
  const sequences = 128
  const limits = { tokens: 1024, sequences, pages: 3000, context: 2048, waiting: 1e6, watermark: 32 }
  const engine = await Engine.start({
    limits,
    pageTokens: 64,
    openRunner: async () => new FakeRunner({ vocabSize: 5000, pages: limits.pages, pageTokens: 64 }),
  })
  const random = uniform(seed)
  const integer = (most: number) => 1 + Math.floor(most * random())
  let over = false
  const client = async () => {
    while (!over)
      await complete(engine, {
        prompt: Int32Array.from({ length: integer(400) }, () => integer(4000)),
        maxTokens: integer(300),
        stopIds: [7],
        sampling: { ...greedy, seed: integer(1e6) },
      })
  }
  const clients = Array.from({ length: 2 * sequences }, client)
  const rows: Row[] = []
  for (let tenth = 1; tenth <= 10; tenth++) {
    await waitUntil(() => engine.stats.steps >= (tenth * steps) / 10)
    rows.push({ steps: engine.stats.steps, tokens: engine.stats.generatedTokens, ...memory() })
  }
  over = true
  await Promise.all(clients)
  if (engine.stats.heldPages !== 0) throw new Error(`${engine.stats.heldPages} pages are held by nobody`)
  await engine.close()
  const [second, last] = [rows[1]!, rows.at(-1)!]
  if (Number(last.heap) > 1.2 * Number(second.heap) + 5)
    throw new Error(`the heap grew from ${second.heap} to ${last.heap} MiB`)
  return rows
}

/** What is killed: the process of a made-up model, or of one on a device. */
async function serverToKill(options: SoakOptions): Promise<ChildServer> {
  const { model, format, device } = options
  if (model === undefined)
    return startFakeServer({ sequences: streams, pages: 600, stepMilliseconds: 2, waiting: 1000 })
  const folder = await folderOf(model, format, options)
  return startDeviceServer(folder, device, { sequences: streams, context: 2048, waiting: 1000 })
}

interface SoakOptions {
  readonly model?: string
  readonly format: string
  readonly device?: string
  readonly keep?: string
  readonly kills: number
  readonly disconnects: number
  readonly steps: number
  readonly seed: number
}

await runBench(
  new Command('soak')
    .description(
      'A server beside a made-up model: its process killed under streams, clients that go away, and memory over many steps.',
    )
    .option(
      '--model <model>',
      'kill the process of a model: a folder, or a name such as llama-3-8b for random weights',
    )
    .option('--format <recipe>', 'format of random weights', 'w4a8kv4')
    .addOption(deviceOption())
    .option(
      '--keep <folder>',
      'where random weights are written (default: in the folder for temporary files)',
    )
    .option('--kills <n>', 'times that the process is killed; 0: none', wholeNumber(0), 20)
    .option('--disconnects <n>', 'clients that go away; 0: none', wholeNumber(0), 10_000)
    .option(
      '--steps <n>',
      'steps of the soak (an hour of 17 ms steps is 212000); 0: none',
      wholeNumber(0),
      212_000,
    )
    .option('--seed <n>', 'seed of all of it', wholeNumber(0), 1)
    .action(async (options: SoakOptions) => {
      const { kills, disconnects, steps, seed } = options
      if (kills > 0) console.log(table([await kill(await serverToKill(options), kills)]))
      if (disconnects > 0) console.log(table([await disconnect(disconnects, seed)]))
      if (steps > 0) console.log(table(await flat(steps, seed)))
    }),
)
