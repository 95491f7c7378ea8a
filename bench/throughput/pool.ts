import { serveModel } from '../../serve/serve-model.ts'
import type { Row } from '../results.ts'
import { folderOf } from '../startup/command.ts'
import { jobRequests, runRequests } from './run.ts'

export interface PoolJob {
  readonly prompt: number
  readonly output: number
  readonly requests: number
  readonly stepTokens: number
}

export interface PoolOptions {
  readonly gpus: readonly string[]
  /** On each GPU. */
  readonly sequences: number
  readonly rounds: number
  readonly beside?: boolean
  readonly keep?: string
}

/** Jobs on the processes that a server has for its GPUs, which share the requests. */
export async function measureOnGpus(
  name: string,
  format: string,
  jobs: readonly PoolJob[],
  { gpus, sequences, rounds, beside, keep }: PoolOptions,
  onRow: (row: Row) => void,
): Promise<void> {
  const folder = await folderOf(name, format, { ...(keep && { keep }), device: gpus[0]! })
  const began = performance.now()
  const { model } = await serveModel(folder, {
    devices: gpus,
    sequences,
    stepTokens: Math.max(sequences, ...jobs.map(({ stepTokens }) => stepTokens)),
    context: Math.max(...jobs.map(({ prompt, output }) => prompt + output)),
    waiting: 1e6,
    promptsFirst: !beside,
    textThreads: 1,
    stepMilliseconds: 120_000,
  })
  console.log(
    `${name} ${format}: ${gpus.length} GPUs ready after ${((performance.now() - began) / 1000).toFixed(1)} s`,
  )
  const { engine } = model
  try {
    for (const [i, { prompt, output, requests, stepTokens }] of jobs.entries()) {
      const times = []
      for (let round = 0; round < rounds; round++) {
        const job = jobRequests({ requests, prompt, output }, engine.bounds.vocabSize, 1 + i * rounds + round)
        times.push(await runRequests(engine, job))
      }
      const best = times.reduce((a, b) => (b.seconds < a.seconds ? b : a))
      onRow({
        ...{ model: name, format, gpus: gpus.length, prompt, output, requests, sequences },
        ...{ 'step tokens': stepTokens, 'output tokens/s': (requests * output) / best.seconds },
        ...{ seconds: best.seconds, steps: best.steps },
      })
    }
  } finally {
    await model.close()
  }
}
