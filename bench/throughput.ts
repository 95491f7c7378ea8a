import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { type Checkpoint, openCheckpoint } from '../checkpoint/open.ts'
import { formatName } from '../checkpoint/quantized.ts'
import { UsageError } from '../cli/failure.ts'
import { deviceOption, wholeNumber } from '../cli/options.ts'
import { PAGE_TOKENS } from '../kernels/formats/kv.ts'
import { Model } from '../models/model.ts'
import { randomCheckpoint } from '../models/random-weights.ts'
import { type ModelName, namedConfig, namedShapes } from '../models/shapes.ts'
import { formatOf, recipeNamed } from '../quantize/recipe.ts'
import { openDevice } from '../runtime/open-device.ts'
import { Engine } from '../serve/engine/engine.ts'
import { ModelRunner, scheduleLimitsOf } from '../serve/engine/model-runner.ts'
import type { EngineRequest } from '../serve/engine/request.ts'
import { greedy } from '../serve/sampling.ts'
import { rng } from '../test/support/rng.ts'
import { runBench } from './command.ts'
import { type Row, writeResults } from './results.ts'
import { table } from './table.ts'

interface ThroughputOptions {
  readonly format: string
  readonly device?: string
  readonly requests: readonly number[]
  readonly sequences: number
  readonly stepTokens: number
  readonly prompt: number
  readonly output: number
  readonly rounds: number
  readonly commit?: string
}

const counts = (text: string): number[] => text.split(',').map(wholeNumber(1))

/** A folder's checkpoint, or random weights of a named model. */
function checkpointOf(model: string, format: string): Checkpoint {
  if (existsSync(model)) return openCheckpoint(model)
  if (!Object.hasOwn(namedShapes, model))
    throw new UsageError(`${model} is no folder; models by name are ${Object.keys(namedShapes).join(', ')}`)
  return randomCheckpoint(namedConfig(model as ModelName), formatOf(recipeNamed(format)))
}

/** Runs requests that all come at once and end with their last token; returns seconds and steps. */
async function runRequests(
  engine: Engine,
  requests: readonly EngineRequest[],
): Promise<{ seconds: number; steps: number }> {
  const { steps } = engine.stats
  const start = performance.now()
  await Promise.all(
    requests.map(
      (request) =>
        new Promise<void>((resolve, reject) =>
          engine.add(request, { onToken() {}, onEnd: (error) => (error ? reject(error) : resolve()) }),
        ),
    ),
  )
  return { seconds: (performance.now() - start) / 1000, steps: engine.stats.steps - steps }
}

await runBench(
  new Command('bench:throughput')
    .description(
      'Output tokens per second of the engine: prompts of random ids come at once, each with so many tokens of output; ' +
        'prompts count in the time.',
    )
    .argument('<model>', 'folder of a checkpoint, or a name such as llama-3-8b for random weights')
    .option('--format <recipe>', 'format of random weights', 'w4a8kv4')
    .addOption(deviceOption())
    .option('--requests <n,...>', 'requests at once', counts, [256])
    .option('--sequences <n>', 'sequences that run at once', wholeNumber(1), 512)
    .option('--step-tokens <n>', 'tokens of one step', wholeNumber(1), 4096)
    .option('--prompt <n>', 'tokens of each prompt', wholeNumber(1), 1024)
    .option('--output <n>', 'tokens generated after each', wholeNumber(1), 512)
    .option('--rounds <n>', 'times, of which the best is told', wholeNumber(1), 2)
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (name: string, options: ThroughputOptions) => {
      const { prompt, output, sequences, stepTokens } = options
      const device = await openDevice(options.device)
      try {
        const pagesPerSequence = Math.ceil((prompt + output) / PAGE_TOKENS)
        const running = Math.min(sequences, Math.max(...options.requests))
        const limits = { tokens: stepTokens, sequences: running, pagesPerSequence, logitRows: running }
        const checkpoint = checkpointOf(name, options.format)
        const { vocabSize } = checkpoint.config
        const model = await Model.load(device, checkpoint, { limits, pages: running * pagesPerSequence })
        const engine = await Engine.start({
          limits: scheduleLimitsOf(model, { waiting: 1e6, watermark: 0 }),
          pageTokens: PAGE_TOKENS,
          openRunner: () => ModelRunner.create(model),
          failures: 0,
        })
        const random = rng(1)
        const requestOf = (): EngineRequest => ({
          prompt: Array.from({ length: prompt }, () => random.integer(0, vocabSize - 1)),
          maxTokens: output,
          stopIds: [],
          sampling: greedy,
        })
        const rows: Row[] = []
        for (const requests of options.requests) {
          // The first compiles what has not been; its prompts are short.
          await runRequests(
            engine,
            Array.from({ length: requests }, () => ({ ...requestOf(), maxTokens: 2 })),
          )
          const rounds: { seconds: number; steps: number }[] = []
          for (let round = 0; round < options.rounds; round++)
            rounds.push(await runRequests(engine, Array.from({ length: requests }, requestOf)))
          const best = rounds.reduce((a, b) => (b.seconds < a.seconds ? b : a))
          rows.push({
            model: name,
            format: formatName(checkpoint.format),
            requests,
            sequences: running,
            prompt,
            output,
            'output tokens/s': (requests * output) / best.seconds,
            seconds: best.seconds,
            steps: best.steps,
            'ms a step': (1000 * best.seconds) / best.steps,
          })
          console.log(table(rows.slice(-1)))
        }
        await engine.close()
        model.free()
        console.log(`wrote ${writeResults(device, 'throughput', rows, options)}`)
      } finally {
        await device.close()
      }
    }),
)
