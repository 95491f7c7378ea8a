import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { FakeRunner } from '../engine/fake-runner.ts'
import type { StepRunner } from '../engine/step-runner.ts'
import type { ProgressMessage, ReadyMessage, WholeRunnerSpec } from './runner-spec.ts'

export interface OpenedRunner {
  readonly runner: StepRunner
  readonly ready: ReadyMessage
}

/** Opens what a process runs steps on. Throws `CheckpointError`, `DeviceError` or `RangeError`. */
export async function openRunner(
  spec: WholeRunnerSpec,
  onProgress: (progress: ProgressMessage) => void,
): Promise<OpenedRunner> {
  if (spec.kind === 'model')
    // Compiler and devices are loaded only where they are needed.
    return (await import('./open-model-runner.ts')).openModelRunner(spec, onProgress)
  const { vocabSize, pages, stepMilliseconds, tokens, sequences, context, waiting } = spec
  const runner = new FakeRunner({ vocabSize, pages, pageTokens: PAGE_TOKENS, stepMilliseconds })
  const limits = { tokens, sequences, pages, context, waiting, watermark: watermarkOf(pages, sequences) }
  return {
    runner,
    ready: {
      bounds: runner.bounds,
      limits,
      pageTokens: PAGE_TOKENS,
      device: 'made up',
      memory: {},
      seconds: {},
      kernels: {},
    },
  }
}

/** Some room for each of the sequences that may run to grow into, but not most of the cache. */
export const watermarkOf = (pages: number, sequences: number): number =>
  Math.min(Math.ceil(sequences / 4), Math.floor(pages / 10))
