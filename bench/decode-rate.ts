import { openCheckpoint } from '../checkpoint/open.ts'
import { PAGE_TOKENS } from '../kernels/formats/kv.ts'
import { Model } from '../models/model.ts'
import { uniform } from '../models/uniform.ts'
import type { Device } from '../runtime/device.ts'
import type { Engine } from '../serve/engine/engine.ts'
import { complete, startOnModel } from '../serve/engine/local-engine.ts'
import { greedy } from '../serve/sampling.ts'

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
  /** Milliseconds until the first token of all prompts, which one step takes. */
  readonly promptMs: number
  /** Milliseconds from token to token, on average: all sequences one token further, from the host and back to it. */
  readonly stepMs: number
  /** Tokens of all sequences per second. */
  readonly tokensPerSecond: number
}

/** Loads a checkpoint folder with room for runs of these shapes, and all prompts in one step. */
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

/** Random prompts of a shape. */
export function promptsOf({ batch, promptTokens }: DecodeShape, vocabSize: number, seed: number): number[][] {
  const random = uniform(seed)
  return Array.from({ length: batch }, () =>
    Array.from({ length: promptTokens }, () => Math.floor(vocabSize * random())),
  )
}

/** Times a prompt and greedy decode steps, after a run that compiles what they need. */
export async function measureDecode(model: Model, shape: DecodeShape): Promise<DecodeRate> {
  const engine = await startOnModel(model)
  try {
    await timesOfTokens(engine, { ...shape, tokens: Math.min(shape.tokens, 3) }, model.config.vocabSize, 1)
    const [promptMs, ...times] = await timesOfTokens(engine, shape, model.config.vocabSize, 2)
    const stepMs = (times.at(-1)! - promptMs!) / times.length
    return { promptMs: promptMs!, stepMs, tokensPerSecond: (1000 * shape.batch) / stepMs }
  } finally {
    await engine.close()
  }
}

/** Milliseconds from the start to each token of the first sequence: the one after the prompt, and those that are timed. */
async function timesOfTokens(
  engine: Engine,
  shape: DecodeShape,
  vocabSize: number,
  seed: number,
): Promise<number[]> {
  const times: number[] = []
  const start = performance.now()
  await Promise.all(
    promptsOf(shape, vocabSize, seed).map((prompt, i) =>
      complete(engine, { prompt, maxTokens: shape.tokens + 1, sampling: greedy, stopIds: [] }, () => {
        if (i === 0) times.push(performance.now() - start)
      }),
    ),
  )
  return times
}
