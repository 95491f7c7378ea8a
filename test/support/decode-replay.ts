import * as assert from 'uvu/assert'
import { mixedSampling } from '../../bench/layer/stack.ts'
import { DecodeGraph } from '../../models/decode-graph.ts'
import { runStepLaunch } from '../../models/layer.ts'
import { Model } from '../../models/model.ts'
import { randomCheckpoint } from '../../models/random-weights.ts'
import type { StepInput } from '../../models/step.ts'
import { formatOf, type Recipe } from '../../quantize/recipe.ts'
import type { Device } from '../../runtime/device.ts'
import type { Tensor } from '../../runtime/tensor.ts'
import { modelConfig } from './model-config.ts'

const config = modelConfig({ heads: 4 })
const rows = 3
const pagesPerSequence = 2
const steps = 4

/** The last row has no sequence; the first two stand shortly before the end of a page and at the begin of a text. */
export function firstStep(): StepInput {
  const pages = Int32Array.from([3, 1, 0, 2, 0, 0])
  return {
    ids: Int32Array.from([17, 5, 0]),
    positions: Int32Array.from([62, 0, 0]),
    slots: Int32Array.from([3 * 64 + 62, 0, -1]),
    queryStart: Int32Array.from([0, 1, 2, 2]),
    context: Int32Array.from([63, 1, 0]),
    prompts: new Int32Array(rows),
    pages,
    logitRows: Int32Array.from([0, 1, 2]),
  }
}

/** A model whose cache holds something before the sequences' first step. */
export async function loadForReplay(
  device: Device,
  weights: Recipe['weights'],
  kv: Recipe['kv'],
): Promise<Model> {
  const checkpoint = randomCheckpoint(config, formatOf({ weights, kv }), 9)
  const limits = { tokens: rows, sequences: rows, pagesPerSequence, logitRows: rows }
  const model = await Model.load(device, checkpoint, { limits, pages: 4 })
  for (const layer of model.cache.layers)
    for (const tensor of Object.values(layer)) (tensor as Tensor | undefined)?.fill(0x31)
  return model
}

/** The ids that each of some steps chooses, and the logits of the last; rows without a sequence left out. */
async function run(
  model: Model,
  step: (index: number, ids: Int32Array) => Promise<void>,
  chosen: () => Promise<ArrayLike<number>>,
): Promise<{ ids: number[][]; logits: Float32Array }> {
  const ids: number[][] = []
  let last = firstStep().ids
  for (let i = 0; i < steps; i++) {
    await step(i, last)
    last = Int32Array.from(await chosen())
    ids.push([...last.subarray(0, 2)])
  }
  return { ids, logits: await model.logits.slice(0, 2).readFloats() }
}

/** Checks that replays of a graph choose what steps of the host choose, and end with the same logits and rows, bit for bit. */
export async function assertReplaysAreSteps(
  device: Device,
  weights: Recipe['weights'],
  kv: Recipe['kv'],
): Promise<void> {
  const eagerModel = await loadForReplay(device, weights, kv)
  const eagerSampling = await mixedSampling(eagerModel)
  const eager = await run(
    eagerModel,
    async (index, ids) => {
      const first = firstStep()
      const positions = first.positions.map((at, row) => (row < 2 ? at + index : at))
      const slots = positions.map((at, row) =>
        row < 2 ? 64 * first.pages[row * pagesPerSequence + (at >> 6)]! + (at & 63) : -1,
      )
      const context = first.context.map((count, row) => (row < 2 ? count + index : 0))
      await eagerModel.step({ ...first, ids: index === 0 ? first.ids : ids, positions, slots, context })
      for (const launch of await eagerSampling.launches(rows)) runStepLaunch(launch)
    },
    () => eagerSampling.ids.read(),
  )
  eagerSampling.free()
  eagerModel.free()

  const model = await loadForReplay(device, weights, kv)
  const sampling = await mixedSampling(model)
  const graph = await DecodeGraph.capture(model, rows, sampling)
  graph.start(firstStep())
  const replayed = await run(
    model,
    async () => graph.launch(),
    () => sampling.ids.read(),
  )
  assert.equal(replayed, eager)
  assert.equal([...(await model.activations.positions.slice(0, rows).read())], [62 + steps, steps, 0])
  assert.equal([...(await model.activations.context.slice(0, rows).read())], [63 + steps, 1 + steps, 0])
  graph.destroy()
  sampling.free()
  model.free()
}
