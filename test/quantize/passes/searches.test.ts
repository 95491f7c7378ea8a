import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HostCompute } from '../../../quantize/compute/host.ts'
import type { StackFormat } from '../../../quantize/layer-state.ts'
import { awq } from '../../../quantize/passes/awq.ts'
import { centerKeys } from '../../../quantize/passes/center-keys.ts'
import { clip } from '../../../quantize/passes/clip.ts'
import { gptq } from '../../../quantize/passes/gptq.ts'
import { hadamardKeys } from '../../../quantize/passes/hadamard-keys.ts'
import type { Pass } from '../../../quantize/passes/pass.ts'
import { reorder } from '../../../quantize/passes/reorder.ts'
import { rotate } from '../../../quantize/passes/rotate.ts'
import { outputError } from '../../../quantize/passes/rounding.ts'
import { rtn } from '../../../quantize/passes/rtn.ts'
import { smooth } from '../../../quantize/passes/smooth.ts'
import { smoothAttention } from '../../../quantize/passes/smooth-attention.ts'
import { applyPasses, logitsOf, randomModel, roundedLogitsOf } from '../../support/quantized-layers.ts'

const test = suite('searches')
const compute = new HostCompute('f64')

type Steps = readonly (readonly [Pass, object?])[]
const step = <T>(pass: Pass<T>, options?: object) => [pass as unknown as Pass, options] as const

/** The relative error of logits, by root mean squares, over several random models. */
async function errorOf(steps: Steps, format: StackFormat, kvBits: 4 | 8 | 16): Promise<number> {
  let [error, energy] = [0, 0]
  for (let seed = 1; seed <= 2; seed++) {
    const config = { hiddenSize: 64, intermediateSize: 128 }
    const model = await randomModel(compute, { seed, format, kvBits, config, window: 8 })
    const exact = await logitsOf(model)
    await applyPasses(model, steps)
    const actual = await roundedLogitsOf(model)
    for (const [i, value] of exact.entries()) {
      error += (actual[i]! - value) ** 2
      energy += value ** 2
    }
  }
  return Math.sqrt(error / energy)
}

/** Which passes have to lessen the error of which formats, on models whose norms have loud channels, and to what part. */
const cases: readonly (readonly [string, StackFormat, 4 | 8 | 16, Steps, Steps, number])[] = [
  ['smooth', 'w8a8', 16, [step(rtn)], [step(smooth), step(rtn)], 0.9],
  ['awq before clip', 'w4a16-g32', 16, [step(clip), step(rtn)], [step(awq), step(clip), step(rtn)], 0.95],
  ['clip', 'w4a8', 16, [step(rtn)], [step(clip), step(rtn)], 0.95],
  ['clip in groups', 'w4a8-g32', 16, [step(rtn)], [step(clip), step(rtn)], 0.98],
  ['gptq', 'w4a8', 16, [step(rtn)], [step(gptq)], 0.9],
  ['gptq behind clip', 'w4a8-g32', 16, [step(clip), step(rtn)], [step(clip), step(gptq)], 0.9],
  ['gptq that follows floats', 'w4a8-g32', 4, [step(gptq)], [step(gptq, { sequential: true })], 0.9],
  ['smooth-attention', 'w16', 4, [], [step(smoothAttention)], 0.98],
  ['center-keys', 'w16', 4, [], [step(centerKeys)], 1],
  ['center-keys and hadamard-keys', 'w16', 4, [], [step(centerKeys), step(hadamardKeys)], 0.95],
]

for (const [name, format, kvBits, without, steps, part] of cases)
  test(`${name} lessens the error of ${format} with ${kvBits}-bit keys to ${part} and less`, async () => {
    const [before, after] = [await errorOf(without, format, kvBits), await errorOf(steps, format, kvBits)]
    assert.ok(after < part * before, `${after} of ${before}: ${after / before}`)
  })

test('a searched clip never errs more in outputs than the whole range, matrix by matrix', async () => {
  const model = await randomModel(compute, { seed: 9, format: 'w4a8' })
  const [clipped, plain] = [model.layers[0]!, { ...model.layers[0]!, rounded: {}, ratios: {} }]
  await applyPasses(model, [step(clip), step(rtn)])
  const run = { seed: 0, record: () => {} }
  await rtn.layer!({ ...plain, statistics: clipped.statistics }, {}, run)
  for (const name of ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const) {
    const before = await outputError(clipped, name, (plain.rounded as typeof clipped.rounded)[name]!.values)
    assert.ok((await outputError(clipped, name, clipped.rounded[name]!.values)) <= before * (1 + 1e-9), name)
  }
})

/** How much louder the loudest channel is than the one in the middle. */
const spread = (absMax: Float32Array): number => {
  const sorted = [...absMax].sort((a, b) => a - b)
  return sorted.at(-1)! / sorted[sorted.length >> 1]!
}

test('a rotation leaves no loud channel', async () => {
  const [plain, rotated] = [await randomModel(compute, { seed: 5 }), await randomModel(compute, { seed: 5 })]
  await applyPasses(plain, [])
  await applyPasses(rotated, [step(rotate)])
  const before = await Promise.all(plain.layers.map(({ statistics }) => statistics.columns('qkv')))
  const after = await Promise.all(rotated.layers.map(({ statistics }) => statistics.columns('qkv')))
  for (const [i, { absMax }] of before.entries()) {
    assert.ok(spread(absMax) > 4, `${spread(absMax)}`)
    assert.ok(spread(after[i]!.absMax) < 2, `${spread(after[i]!.absMax)}`)
  }
})

test('behind a reordering the inputs of down ascend, and those of o within each key/value head', async () => {
  const model = await randomModel(compute, { seed: 6 })
  await applyPasses(model, [step(reorder)])
  const ascends = (values: readonly number[]): boolean =>
    values.every((v, i) => i === 0 || v >= values[i - 1]!)
  for (const { statistics, config } of model.layers) {
    const { headDim } = config
    assert.ok(ascends([...(await statistics.columns('down')).absMax]))
    const { absMax } = await statistics.columns('o')
    // Two query heads share each key/value head: the greater of the two counts.
    for (let head = 0; head < config.kvHeads; head++) {
      const of = (query: number) => [...absMax.subarray(query * headDim, (query + 1) * headDim)]
      const [first, second] = [of(2 * head), of(2 * head + 1)]
      assert.ok(ascends(first.map((value, i) => Math.max(value, second[i]!))))
    }
  }
})

test('what is chosen is recorded', async () => {
  const model = await randomModel(compute, { seed: 9, format: 'w4a8', kvBits: 4 })
  const recorded = await applyPasses(model, [
    step(smooth),
    step(smoothAttention),
    step(awq),
    step(clip),
    step(gptq),
  ])
  for (const what of [
    'smooth qkv strength',
    'smooth-attention strength',
    'awq down power',
    'clip up mean ratio',
    'gptq o error of rounding',
  ])
    assert.ok(what in recorded, what)
  assert.ok((recorded['gptq o error of rounding'] as number) <= 1)
})

test.run()
