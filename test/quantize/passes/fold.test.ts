import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ModelConfig } from '../../../checkpoint/config.ts'
import { HostCompute } from '../../../quantize/compute/host.ts'
import { awq } from '../../../quantize/passes/awq.ts'
import { centerKeys } from '../../../quantize/passes/center-keys.ts'
import { foldScales } from '../../../quantize/passes/fold-scales.ts'
import { hadamardKeys } from '../../../quantize/passes/hadamard-keys.ts'
import { hadamardTimes, timesHadamard } from '../../../quantize/passes/orthogonal.ts'
import type { Pass } from '../../../quantize/passes/pass.ts'
import { reorder } from '../../../quantize/passes/reorder.ts'
import { rotate } from '../../../quantize/passes/rotate.ts'
import { rotateHeads } from '../../../quantize/passes/rotate-heads.ts'
import { smooth } from '../../../quantize/passes/smooth.ts'
import { smoothAttention } from '../../../quantize/passes/smooth-attention.ts'
import {
  applyPasses,
  logitsOf,
  type RandomModel,
  randomModel,
  relativeError,
} from '../../support/quantized-layers.ts'

const test = suite('folds')
const compute = new HostCompute('f64')

type Steps = readonly (readonly [Pass<never> | Pass, object?])[]
const step = <T>(pass: Pass<T>, options?: object) => [pass as unknown as Pass, options] as const

/** Sums of f64 in another order; what a fold gets wrong errs by 1e-3 and more on these models. */
const EXACT = 1e-10

const families: Readonly<Record<string, Partial<ModelConfig>>> = {
  'grouped queries': {},
  'biases, hidden size 24 (Paley), heads that rotate in part': {
    attentionBias: true,
    hiddenSize: 24,
    rope: { theta: 100, columns: 8, scaling: undefined },
  },
  'heads that are normalized, one value head to a query head': { headNorm: true, kvHeads: 4 },
}

const folds: Readonly<Record<string, Steps>> = {
  rotate: [step(rotate)],
  'rotate with signs': [step(rotate, { signs: true })],
  'rotate-heads': [step(rotateHeads)],
  'center-keys': [step(centerKeys)],
  'hadamard-keys, centred': [step(centerKeys), step(hadamardKeys)],
  reorder: [step(reorder)],
  'smooth, strength given': [step(smooth, { stacks: ['qkv', 'o', 'gateUp', 'down'], strength: 0.6 })],
  'smooth, searched': [step(smooth, { stacks: ['qkv', 'o', 'gateUp', 'down'] })],
  'smooth-attention, strength given': [step(smoothAttention, { strength: 0.5, queryStrength: 0.2 })],
  'smooth-attention, searched, of centred keys': [step(centerKeys), step(smoothAttention)],
  awq: [step(awq)],
  'all at once': [
    step(rotate, { signs: true }),
    step(rotateHeads),
    step(reorder),
    step(smooth, { stacks: ['down', 'o'], strength: 0.4 }),
    step(smoothAttention),
    step(centerKeys),
    step(hadamardKeys),
    step(awq),
  ],
}

/** Logits before and behind some steps on the same random model; formats with 4-bit keys, so that searches find something. */
async function change(
  config: Partial<ModelConfig>,
  apply: (model: RandomModel) => Promise<unknown>,
): Promise<number> {
  const model = await randomModel(compute, { seed: 7, config, kvBits: 4 })
  const before = await logitsOf(model)
  await apply(model)
  return relativeError(await logitsOf(model), before)
}

for (const [family, config] of Object.entries(families))
  for (const [name, steps] of Object.entries(folds))
    test(`${name} leaves the function of a model with ${family}`, async () => {
      const error = await change(config, (model) => applyPasses(model, steps))
      assert.ok(error < EXACT, `logits differ by ${error}`)
    })

/** What a wrong fold errs by, at least. */
const BROKEN = 1e-3

const broken: Readonly<Record<string, (model: RandomModel) => Promise<void>>> = {
  'a rotation that leaves gains in the norms': async ({ layers, embedding, head }) => {
    const { hiddenSize } = embedding.config
    for (const m of [embedding.table, head.weight]) await timesHadamard(compute, m, hiddenSize)
    for (const { weights } of layers) {
      for (const name of ['q', 'k', 'v', 'gate', 'up'] as const)
        await timesHadamard(compute, weights[name], hiddenSize)
      for (const name of ['o', 'down'] as const) await hadamardTimes(compute, weights[name], hiddenSize)
    }
  },
  'a rotation of values that o does not know': async ({ layers, embedding }) => {
    for (const { weights } of layers) await hadamardTimes(compute, weights.v, embedding.config.headDim)
  },
  'scales of keys that a rotated pair does not share': async ({ layers, embedding }) => {
    const { heads, kvHeads, headDim } = embedding.config
    for (const { weights } of layers) {
      const scale = (row: number): number => 1 + (row % headDim) / headDim
      const column = (rows: number, of: (row: number) => number) =>
        compute.from(
          Float64Array.from({ length: rows }, (_, i) => of(i)),
          rows,
          1,
        )
      await compute.scaleRows(weights.q, column(heads * headDim, scale))
      await compute.scaleRows(
        weights.k,
        column(kvHeads * headDim, (row) => 1 / scale(row)),
      )
    }
  },
  'an order of values that differs from that of columns of o': async ({ layers }) => {
    for (const { weights } of layers) {
      const copy = compute.allocate(weights.v.rows, weights.v.columns)
      await compute.copy(copy, weights.v)
      await compute.permuteRows(
        weights.v,
        copy,
        Int32Array.from({ length: copy.rows }, (_, i) => i ^ 1),
      )
    }
  },
  'a mean of keys that is taken off queries': async ({ layers }) => {
    for (const { weights, config } of layers) {
      const columns = new Float64Array(config.hiddenSize).fill(0.2)
      await compute.addRow(weights.q, compute.from(columns, 1, columns.length))
    }
  },
  'scales that the columns behind do not know': async ({ layers }) => {
    for (const layer of layers) {
      const up = compute.allocate(layer.weights.down.rows, layer.weights.down.columns)
      await compute.copy(up, layer.weights.down)
      const scales = Float64Array.from({ length: up.columns }, (_, i) => 1 + (i % 3))
      await foldScales(layer, 'down', scales)
      await compute.copy(layer.weights.down, up)
    }
  },
}

for (const [name, apply] of Object.entries(broken))
  test(`${name} is noticed`, async () => {
    const error = await change({}, async (model) => {
      await applyPasses(model, [])
      await apply(model)
    })
    assert.ok(error > BROKEN, `logits differ by ${error} only`)
  })

test('random signs are others for other seeds, and the same for the same', async () => {
  const tables = await Promise.all(
    [1, 2].map(async () => {
      const model = await randomModel(compute, { seed: 7 })
      await applyPasses(model, [step(rotate, { signs: true })])
      return compute.read(model.embedding.table)
    }),
  )
  assert.equal(tables[0], tables[1])
  const plain = await randomModel(compute, { seed: 7 })
  await applyPasses(plain, [step(rotate)])
  assert.ok(relativeError(tables[0]!, await compute.read(plain.embedding.table)) > 0.1)
})

test.run()
