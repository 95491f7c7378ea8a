import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { UsageError } from '../../cli/failure.ts'
import { deviceOption, numberBetween, wholeNumber } from '../../cli/options.ts'
import { uniform } from '../../models/uniform.ts'
import type { Device } from '../../runtime/device.ts'
import { openDevice } from '../../runtime/open-device.ts'
import { percentile, runLoad } from '../load.ts'
import { type Row, resultHeader, writeRows } from '../results.ts'
import { folderOf } from '../startup/command.ts'
import { table } from '../table.ts'
import { serveLatencyPage } from './page.ts'
import { startServer } from './start-server.ts'

interface ServeBenchOptions {
  readonly url?: string
  readonly model?: string
  readonly format: string
  readonly device?: string
  readonly sequences: number
  readonly stepTokens: number
  readonly apiKey?: string
  readonly rate: readonly number[]
  readonly requests: number
  readonly prompt: number
  readonly output: number
  readonly seed: number
  readonly keep?: string
  readonly json?: string
  readonly html?: string
  readonly commit?: string
}

const rates = (text: string): number[] => text.split(',').map(numberBetween(0.001, 1e5))

/** `pathOf` says where figures and page go when no files are named. */
export const serveCommand = (pathOf?: (device: Device, file: string) => string): Command =>
  new Command('serve')
    .description(
      'Latency of a server that speaks as OpenAI does, under requests that come at a rate, whether it keeps up or not.',
    )
    .argument(
      '[model]',
      'starts a server of this model: a folder, or a name such as llama-3-8b for random weights',
    )
    .option('--url <url>', 'a server that runs, in place of a model (default: http://127.0.0.1:8000)')
    .option('--format <recipe>', 'format of random weights', 'w4a8kv4')
    .addOption(deviceOption())
    .option('--sequences <n>', 'sequences that a started server runs at once', wholeNumber(1), 512)
    .option('--step-tokens <n>', 'tokens of its steps', wholeNumber(1), 2048)
    .option('--model <name>', 'what a running server calls its model (default: the first that it has)')
    .option('--api-key <key>', 'its key')
    .option('--rate <n,...>', 'requests a second, at random moments', rates, [4])
    .option('--requests <n>', 'requests of each rate', wholeNumber(1), 64)
    .option('--prompt <n>', 'tokens of each prompt, random ids', wholeNumber(1), 256)
    .option('--output <n>', 'tokens of each answer', wholeNumber(1), 128)
    .option('--seed <n>', 'the same seed gives the same requests at the same moments', wholeNumber(0), 1)
    .option(
      '--keep <folder>',
      'where random weights are written (default: in the folder for temporary files)',
    )
    .option('--json <file>', 'file for the figures')
    .option('--html <file>', 'file for a page with charts')
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (model: string | undefined, options: ServeBenchOptions) => {
      if (model !== undefined && options.url !== undefined)
        throw new UsageError('a model starts a server of its own; leave out either it or --url')
      const server =
        model === undefined
          ? undefined
          : await startServer([
              await folderOf(model, options.format, options),
              ...(options.device ? ['--device', options.device] : []),
              ...['--sequences', String(options.sequences), '--step-tokens', String(options.stepTokens)],
              ...['--context', String(options.prompt + options.output)],
            ])
      const rows: Row[] = []
      try {
        const url = server?.url ?? options.url ?? 'http://127.0.0.1:8000'
        const headers = headersOf(options)
        const name = options.model ?? (await servedModel(url, headers))
        // What the first requests make the server do is no part of what is measured.
        await measureRate(url, headers, name, { ...options, requests: 4 }, 8, -1)
        for (const [i, rate] of options.rate.entries()) {
          const row = await measureRate(url, headers, name, options, rate, options.seed + i)
          rows.push(row)
          console.log(table([row]))
        }
      } finally {
        await server?.close()
      }
      if (rows.length > 1) console.log(table(rows))
      if (!options.json && !options.html && !(pathOf && server)) return
      const device = await openDevice(options.device)
      try {
        const header = resultHeader(device, 'serve', options)
        const json = options.json ?? (server && pathOf?.(device, 'serve.json'))
        const html = options.html ?? (server && pathOf?.(device, 'serve.html'))
        if (json) writeRows(json, header, rows)
        if (html) writeFileSync(html, serveLatencyPage(header, rows))
        console.log(`wrote ${[json, html].filter(Boolean).join(' and ')}`)
      } finally {
        await device.close()
      }
    })

type Headers = Readonly<Record<string, string>>

const headersOf = ({ apiKey }: ServeBenchOptions): Headers =>
  apiKey ? { authorization: `Bearer ${apiKey}` } : {}

/** The model that a server has. */
async function servedModel(url: string, headers: Headers): Promise<string> {
  const response = await fetch(`${url}/v1/models`, { headers }).catch(() => {
    throw new UsageError(
      `no server answers at ${url}; start one with quattuor serve MODEL, give its address as --url, or name a model`,
    )
  })
  if (!response.ok)
    throw new UsageError(`${url}/v1/models answers with ${response.status}; --api-key gives the server's key`)
  const { data } = (await response.json()) as { data: readonly { id: string }[] }
  return data[0]!.id
}

/** Sends requests at a rate and says how long they took. */
async function measureRate(
  url: string,
  headers: Headers,
  model: string,
  { requests, prompt, output }: Pick<ServeBenchOptions, 'requests' | 'prompt' | 'output'>,
  rate: number,
  seed: number,
): Promise<Row> {
  const random = uniform(seed)
  // A Poisson process: the times between requests are exponential.
  let at = 0
  const arrivals = Array.from({ length: requests }, () => {
    at += (-Math.log(1 - random()) * 1000) / rate
    return at
  })
  const prompts = arrivals.map(() => Array.from({ length: prompt }, () => 10 + Math.floor(990 * random())))
  const start = performance.now()
  const { samples, errors } = await runLoad({
    url: `${url}/v1/completions`,
    headers,
    arrivals,
    body: (index) =>
      JSON.stringify({
        ...{ model, prompt: prompts[index], max_tokens: output, ignore_eos: true, temperature: 0 },
        ...{ stream: true, stream_options: { include_usage: true } },
      }),
  })
  const seconds = (performance.now() - start) / 1000
  if (errors.length > 0) console.log(`first error: ${errors[0]}`)
  const times = {
    'TTFT ms': samples.map(({ firstToken }) => firstToken),
    'TPOT ms': samples.map((x) => (x.end - x.firstToken) / Math.max(1, x.tokens - 1)),
    'E2E ms': samples.map(({ end }) => end),
  }
  const percentiles = Object.entries(times).flatMap(([name, values]) => [
    [`${name}, median`, percentile(values, 0.5)],
    [`${name}, 90 %`, percentile(values, 0.9)],
    [`${name}, 99 %`, percentile(values, 0.99)],
  ])
  const tokens = samples.reduce((sum, sample) => sum + sample.tokens, 0)
  return {
    ...{
      rate,
      requests,
      prompt,
      output,
      errors: errors.length,
      seconds,
      'output tokens/s': tokens / seconds,
    },
    ...(Object.fromEntries(percentiles) as Record<string, number | null>),
  }
}
