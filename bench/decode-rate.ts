import { openCheckpoint } from '../checkpoint/open.ts'
import { PAGE_TOKENS } from '../kernels/formats/kv.ts'
import { Model } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'
import { median } from '../runtime/tune/statistics.ts'
import { GenerateLoop } from '../serve/generate-loop.ts'
import { greedy } from '../serve/sequence.ts'
import { rng } from '../test/support/rng.ts'

/** A run of some sequences side by side: what is asked for. */
export interface DecodeShape {
  /** Sequences that decode at once. */
  readonly batch: number
  /** Tokens of each prompt. */
  readonly promptTokens: number
  /** Decode steps that are timed. */
  readonly tokens: number
}

export interface DecodeRate {
  /** Milliseconds of the step that runs all prompts and gives every sequence its first token. */
  readonly promptMs: number
  /** Median milliseconds of a decode step: all sequences one token further, from the host and back to it. */
  readonly stepMs: number
  /** Milliseconds of the fastest step: what the median would be on a machine with nothing else to do. */
  readonly fastestStepMs: number
  /** Tokens of all sequences per second, by the median step. */
  readonly tokensPerSecond: number
}

/** Loads a checkpoint folder with room for runs of these shapes, and a prompt's tokens in one step. */
export async function loadForShapes(
  device: Device,
  folder: string,
  shapes: readonly DecodeShape[],
): Promise<{ readonly model: Model; readonly format: string }> {
  const most = (size: (shape: DecodeShape) => number) => Math.max(...shapes.map(size))
  const sequences = most((shape) => shape.batch)
  const pagesPerSequence = Math.ceil(most((shape) => shape.promptTokens + shape.tokens + 1) / PAGE_TOKENS)
  const checkpoint = openCheckpoint(folder)
  try {
    const limits = {
      tokens: most((shape) => shape.batch * shape.promptTokens),
      sequences,
      pagesPerSequence,
      logitRows: sequences,
    }
    const model = await Model.load(device, checkpoint, { limits, pages: sequences * pagesPerSequence })
    return { model, format: checkpoint.format.name }
  } finally {
    checkpoint.close()
  }
}

/** Starts sequences of random prompts and runs the step that gives each its first token; returns what that took. */
export async function startDecoding(
  model: Model,
  { batch, promptTokens, tokens }: DecodeShape,
): Promise<{ readonly loop: GenerateLoop; readonly promptMs: number }> {
  const random = rng(batch)
  const loop = await GenerateLoop.create(model)
  for (let i = 0; i < batch; i++) {
    loop.add({
      prompt: Array.from({ length: promptTokens }, () => random.integer(0, model.config.vocabSize - 1)),
      maxTokens: tokens + 1,
      sampling: greedy,
      stopIds: [],
    })
  }
  const started = performance.now()
  const events = await loop.step()
  const promptMs = performance.now() - started
  if (events.length !== batch) throw new Error(`${events.length} of ${batch} prompts fitted into one step`)
  return { loop, promptMs }
}

/** Runs a prompt and some decode steps, so that their kernels are compiled, loaded and bound. */
export async function warmUp(model: Model, shape: DecodeShape): Promise<void> {
  const { loop } = await startDecoding(model, shape)
  for (let i = 0; i < 3 && loop.busy; i++) await loop.step()
  loop.free()
}

/** Times a prompt and greedy decode steps after a run to warm up. */
export async function measureDecode(model: Model, shape: DecodeShape): Promise<DecodeRate> {
  await warmUp(model, shape)
  const { loop, promptMs } = await startDecoding(model, shape)
  try {
    const steps: number[] = []
    while (loop.busy) {
      const started = performance.now()
      await loop.step()
      steps.push(performance.now() - started)
    }
    const stepMs = median(steps)
    const tokensPerSecond = (1000 * shape.batch) / stepMs
    return { promptMs, stepMs, fastestStepMs: Math.min(...steps), tokensPerSecond }
  } finally {
    loop.free()
  }
}
