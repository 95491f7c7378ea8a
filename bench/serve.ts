import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { UsageError } from '../cli/failure.ts'
import { numberBetween, wholeNumber } from '../cli/options.ts'
import { rng } from '../test/support/rng.ts'
import { runBench } from './command.ts'
import { percentile, runLoad } from './load.ts'
import { table } from './table.ts'

interface ServeBenchOptions {
  readonly url: string
  readonly model?: string
  readonly apiKey?: string
  readonly rate: number
  readonly requests: number
  readonly prompt: number
  readonly output: number
  readonly seed: number
  readonly json?: string
}

/** The model that a server has. */
async function servedModel(url: string, headers: Readonly<Record<string, string>>): Promise<string> {
  const response = await fetch(`${url}/v1/models`, { headers }).catch(() => {
    throw new UsageError(
      `no server answers at ${url}; start one with quattuor serve MODEL, or give its address as --url`,
    )
  })
  if (!response.ok)
    throw new UsageError(`${url}/v1/models answers with ${response.status}; --api-key gives the server's key`)
  const { data } = (await response.json()) as { data: readonly { id: string }[] }
  return data[0]!.id
}

await runBench(
  new Command('bench:serve')
    .description(
      'Latency of a server that speaks as OpenAI does, under requests that come at a rate, whether it keeps up or not.',
    )
    .option('--url <url>', 'the server', 'http://127.0.0.1:8000')
    .option('--model <name>', 'what it calls its model (default: the first that it has)')
    .option('--api-key <key>', 'its key')
    .option('--rate <n>', 'requests a second, at random moments', numberBetween(0.001, 1e5), 4)
    .option('--requests <n>', 'requests', wholeNumber(1), 64)
    .option('--prompt <n>', 'tokens of each prompt, random ids', wholeNumber(1), 256)
    .option('--output <n>', 'tokens of each answer', wholeNumber(1), 128)
    .option('--seed <n>', 'the same seed gives the same requests at the same moments', wholeNumber(0), 1)
    .option('--json <file>', 'file for the figures and every sample')
    .action(async (options: ServeBenchOptions) => {
      const { rate, requests, prompt, output, seed } = options
      const headers: Record<string, string> = options.apiKey
        ? { authorization: `Bearer ${options.apiKey}` }
        : {}
      const model = options.model ?? (await servedModel(options.url, headers))
      const { uniform, integer } = rng(seed)
      // A Poisson process: the times between requests are exponential.
      let at = 0
      const arrivals = Array.from({ length: requests }, () => {
        at += (-Math.log(1 - uniform()) * 1000) / rate
        return at
      })
      const prompts = arrivals.map(() => Array.from({ length: prompt }, () => integer(10, 1000)))
      const start = performance.now()
      const { samples, errors } = await runLoad({
        url: `${options.url}/v1/completions`,
        headers,
        arrivals,
        body: (index) =>
          JSON.stringify({
            ...{ model, prompt: prompts[index], max_tokens: output, ignore_eos: true, temperature: 0 },
            ...{ stream: true, stream_options: { include_usage: true } },
          }),
      })
      const seconds = (performance.now() - start) / 1000
      const times = {
        'first token, ms': samples.map(({ firstToken }) => firstToken),
        'token after it, ms': samples.map((x) => (x.end - x.firstToken) / Math.max(1, x.tokens - 1)),
        'whole request, ms': samples.map(({ end }) => end),
      }
      const rows = Object.entries(times).map(([name, values]) => ({
        measured: name,
        median: percentile(values, 0.5),
        '90 %': percentile(values, 0.9),
        '99 %': percentile(values, 0.99),
      }))
      console.log(table(rows))
      const tokens = samples.reduce((sum, sample) => sum + sample.tokens, 0)
      const totals = { rate, requests, errors: errors.length, seconds, 'output tokens/s': tokens / seconds }
      console.log(table([totals]))
      if (errors.length > 0) console.log(`first error: ${errors[0]}`)
      if (options.json)
        writeFileSync(options.json, `${JSON.stringify({ options, totals, rows, samples }, null, 2)}\n`)
    }),
)
