import { appendFileSync, existsSync, rmSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { type Checkpoint, openCheckpoint } from '../../checkpoint/open.ts'
import { formatName } from '../../checkpoint/quantized.ts'
import { UsageError } from '../../cli/failure.ts'
import { deviceOption, gpusOption, wholeNumber } from '../../cli/options.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { Model } from '../../models/model.ts'
import { randomCheckpoint } from '../../models/random-weights.ts'
import { isModelName, namedConfig, namedShapes } from '../../models/shapes.ts'
import { formatOf, recipeNamed } from '../../quantize/recipe.ts'
import type { Device } from '../../runtime/device.ts'
import { openDevice } from '../../runtime/open-device.ts'
import { Engine } from '../../serve/engine/engine.ts'
import { ModelRunner, scheduleLimitsOf } from '../../serve/engine/model-runner.ts'
import { Timeline } from '../../serve/engine/timeline.ts'
import { needGpuFor } from '../random-model.ts'
import { type Row, resultHeader, writeResults, writeRows } from '../results.ts'
import { table } from '../table.ts'
import { measureOnGpus } from './pool.ts'
import { type JobTimes, jobRequests, runRequests } from './run.ts'
import { busyShare, detailRows, timelineRows } from './timeline-rows.ts'

interface ThroughputOptions {
  readonly format: readonly string[]
  readonly device?: string
  readonly gpus?: readonly string[]
  readonly keep?: string
  readonly requests: readonly number[]
  readonly sequences: number
  readonly stepTokens: readonly number[]
  readonly shape: readonly Shape[]
  readonly rounds: number
  readonly beside?: boolean
  readonly detail: number
  readonly steps?: string
  readonly json?: string
  readonly commit?: string
}

interface Shape {
  readonly prompt: number
  readonly output: number
}

const list = (text: string): string[] => text.split(',')
const counts = (text: string): number[] => list(text).map(wholeNumber(1))

/** `1024/512,1000/1000`. Throws `InvalidArgumentError`. */
const shapes = (text: string): Shape[] =>
  list(text).map((shape) => {
    const [, prompt, output] = /^(\d+)\/(\d+)$/.exec(shape) ?? []
    if (!Number(prompt) || !Number(output))
      throw new InvalidArgumentError('Give tokens of the prompt and of the output, as in 1024/512.')
    return { prompt: Number(prompt), output: Number(output) }
  })

/** A folder's checkpoint, or random weights of a named model. */
async function checkpointOf(model: string, format: string, device: Device): Promise<Checkpoint> {
  if (existsSync(model)) return openCheckpoint(model)
  if (!isModelName(model))
    throw new UsageError(`${model} is no folder; models by name are ${Object.keys(namedShapes).join(', ')}`)
  await needGpuFor(model, device.name)
  return randomCheckpoint(namedConfig(model), formatOf(recipeNamed(format)))
}

/** `save` writes the rows somewhere and returns where, when no file is named. */
export const throughputCommand = (
  save?: (device: Device, rows: readonly Row[], options: { readonly commit?: string }) => string,
): Command =>
  new Command('throughput')
    .description(
      'Output tokens per second of the engine: prompts of random ids come at once, each with so many tokens of output; ' +
        'prompts count in the time. With more requests than sequences, those that wait come in as others end.',
    )
    .argument('<model>', 'folder of a checkpoint, or a name such as llama-3-8b for random weights')
    .option('--format <recipe,...>', 'formats of random weights', list, ['w4a8kv4'])
    .addOption(deviceOption())
    .addOption(gpusOption())
    .option(
      '--keep <folder>',
      'where random weights for --gpus are written (default: in the folder for temporary files)',
    )
    .option('--shape <prompt/output,...>', 'tokens of a prompt and after it', shapes, [
      { prompt: 1024, output: 512 },
    ])
    .option('--requests <n,...>', 'requests at once', counts, [512])
    .option('--sequences <n>', 'sequences that run at once', wholeNumber(1), 512)
    .option('--step-tokens <n,...>', 'tokens of one step', counts, [4096])
    .option('--rounds <n>', 'times, of which the best is told', wholeNumber(1), 1)
    .option('--beside', 'decode beside prompts, as a server does, and not when prompts leave room')
    .option('--detail <n>', 'takes every nth step apart, launch by launch; 0: none', wholeNumber(0), 0)
    .option('--steps <file>', 'file for the times of every step, a line of JSON each')
    .option('--json <file>', 'file for the figures')
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (name: string, options: ThroughputOptions) => {
      const device = await openDevice(options.gpus?.[0] ?? options.device)
      try {
        const rows: Row[] = []
        // After each, so that a run that is interrupted leaves what it has.
        const keep = (row: Row) => {
          rows.push(row)
          if (options.json) writeRows(options.json, resultHeader(device, 'throughput', options), rows)
        }
        const { gpus } = options
        if (options.steps) rmSync(options.steps, { force: true })
        for (const format of options.format)
          if (gpus) {
            await measureOnGpus(name, format, jobsOf(options), { ...options, gpus }, (row) => {
              keep(row)
              console.log(table([row]))
            })
          } else await measureFormat(device, name, format, options, keep)
        if (rows.length > 1) console.log(table(rows))
        if (save && !options.json) console.log(`wrote ${save(device, rows, options)}`)
      } finally {
        await device.close()
      }
    })

/** Figures go where those of `npm run bench:throughput` are kept. */
export const saveThroughput = (
  device: Device,
  rows: readonly Row[],
  options: { readonly commit?: string },
): string => writeResults(device, 'throughput', rows, options)

/** The jobs that options name: all shapes with all numbers of requests and of tokens of a step. */
const jobsOf = ({ shape, requests, stepTokens }: ThroughputOptions) =>
  shape.flatMap((one) =>
    requests.flatMap((count) =>
      stepTokens.map((tokens) => ({ ...one, requests: count, stepTokens: tokens })),
    ),
  )

/** All jobs on a model of one format. */
async function measureFormat(
  device: Device,
  name: string,
  format: string,
  options: ThroughputOptions,
  keep: (row: Row) => void,
): Promise<void> {
  const { shape, requests, sequences, stepTokens, rounds } = options
  const jobs = jobsOf(options)
  const longest = Math.max(...shape.map(({ prompt, output }) => prompt + output))
  const pagesPerSequence = Math.ceil(longest / PAGE_TOKENS)
  const running = Math.min(sequences, Math.max(...requests))
  const limits = {
    tokens: Math.max(...stepTokens, running),
    sequences: running,
    pagesPerSequence,
    logitRows: running,
  }
  const checkpoint = await checkpointOf(name, format, device)
  const free = device.freeBytes()
  const loading = performance.now()
  const model = await Model.load(device, checkpoint, { limits, pages: running * pagesPerSequence })
  const timeline = new Timeline(device, options.detail)
  const runner = await ModelRunner.create(model, { timeline })
  const capturing = performance.now()
  await runner.prepare()
  const ready = performance.now()
  const memoryGib = (free - device.freeBytes()) / 2 ** 30
  console.log(
    `${name} ${format}: loaded in ${((capturing - loading) / 1000).toFixed(1)} s, ` +
      `graphs recorded in ${((ready - capturing) / 1000).toFixed(1)} s`,
  )
  const { vocabSize } = checkpoint.config
  for (const [seed, { stepTokens: tokens, ...job }] of jobs.entries()) {
    const engine = await Engine.start({
      limits: {
        ...scheduleLimitsOf(model, { waiting: 1e6, watermark: 0 }),
        tokens: Math.max(tokens, running),
        promptsFirst: !options.beside,
      },
      pageTokens: PAGE_TOKENS,
      // Other engines run on it, too.
      openRunner: async () => ({
        bounds: runner.bounds,
        submit: (step) => runner.submit(step),
        close: async () => {},
      }),
      failures: 0,
    })
    // What steps of prompts need is compiled before the clock runs: whole steps, a last one of any length, and mixed ones.
    const few = Math.min(job.requests, 1 + Math.ceil((3 * tokens) / job.prompt))
    await runRequests(engine, jobRequests({ ...job, requests: few, output: 4 }, vocabSize, -1 - seed))
    let best:
      | { readonly times: JobTimes; readonly steps: Timeline['steps']; readonly host: number }
      | undefined
    for (let round = 0; round < rounds; round++) {
      timeline.clear()
      const host = performance.eventLoopUtilization()
      const times = await runRequests(engine, jobRequests(job, vocabSize, 1 + seed * rounds + round))
      if (!best || times.seconds < best.times.seconds)
        best = {
          times,
          steps: [...timeline.steps],
          host: performance.eventLoopUtilization(host).utilization,
        }
    }
    await engine.close()
    const { times, steps, host } = best!
    const row = {
      model: name,
      format: formatName(checkpoint.format),
      ...job,
      sequences: running,
      'step tokens': Math.max(tokens, running),
      'output tokens/s': (job.requests * job.output) / times.seconds,
      'decode tokens/s': (job.requests * (job.output - 1)) / (times.seconds - times.promptSeconds),
      seconds: times.seconds,
      steps: times.steps,
      'busy %': 100 * busyShare(steps),
      'host %': 100 * host,
      'memory GiB': memoryGib,
    }
    keep(row)
    if (options.steps)
      appendFileSync(options.steps, steps.map((step) => `${JSON.stringify({ ...job, ...step })}\n`).join(''))
    console.log(table([row]))
    console.log(table(timelineRows(steps, Math.min(running, job.requests)), 3))
    if (timeline.details.length > 0) console.log(table(detailRows(timeline), 3))
  }
  await runner.close()
  model.free()
}
