import { openCheckpoint } from '../../checkpoint/open.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { Model } from '../../models/model.ts'
import { stepOf } from '../../models/step.ts'
import type { Device } from '../../runtime/device.ts'
import { complete, startOnModel } from '../../serve/engine/local-engine.ts'
import { greedy } from '../../serve/sampling.ts'

/** Loads a checkpoint for `sequences` requests at once of at most `context` tokens, steps of at most `tokens`. */
export async function loadForTest(
  device: Device,
  folder: string,
  { sequences, context, tokens = 256 }: { sequences: number; context: number; tokens?: number },
): Promise<Model> {
  const checkpoint = openCheckpoint(folder)
  try {
    const pagesPerSequence = Math.ceil(context / PAGE_TOKENS)
    return await Model.load(device, checkpoint, {
      limits: { tokens, sequences, pagesPerSequence, logitRows: Math.max(sequences, tokens) },
      pages: pagesPerSequence * sequences,
    })
  } finally {
    checkpoint.close()
  }
}

/** Continues prompts greedily, as many at once as the model has room for; ids without the end token. */
export async function continueGreedily(
  model: Model,
  prompts: readonly (readonly number[])[],
  maxTokens: number,
  stopIds: readonly number[] = [],
): Promise<number[][]> {
  const engine = await startOnModel(model)
  try {
    const completions = await Promise.all(
      prompts.map((prompt) => complete(engine, { prompt, maxTokens, sampling: greedy, stopIds })),
    )
    return completions.map(({ ids }) => [...ids])
  } finally {
    await engine.close()
  }
}

/** f32 logits at every position of one sequence, [tokens][vocabulary], from one pass over it. */
export async function logitsOf(model: Model, ids: readonly number[]): Promise<Float32Array[]> {
  const { pagesPerSequence } = model.limits
  const pages = Array.from({ length: pagesPerSequence }, (_, i) => i)
  await model.step(
    stepOf([{ ids, position: 0, isPrompt: true, pages, logits: ids.length }], pagesPerSequence),
  )
  const all = await model.logits.slice(0, ids.length).readFloats()
  const { vocabSize } = model.config
  return ids.map((_, i) => all.subarray(i * vocabSize, (i + 1) * vocabSize))
}
