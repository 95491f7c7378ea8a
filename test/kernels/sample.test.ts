import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sample } from '../../kernels/sample.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { assertSameInParts, eachRow } from '../support/batch-invariance.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { rng } from '../support/rng.ts'
import { runCase, runKernel } from '../support/run-kernel.ts'
import { coarseLogits, distributionCase, greedyCase, greedySettings, sampleArgs } from './cases/logits.ts'

const device = checkedEmulator()
/** Without checks, for as many draws as a distribution takes. */
const fast = openEmulator()

for (const [B, V] of [
  [1, 1],
  [5, 7],
  [4, 300],
  [3, 4101],
  [3, 8192],
] as const) {
  const c = greedyCase({ B, V, seed: V })
  test(c.name, () => runCase(device, c))
}

const all = { temperature: 1, topK: 0, topP: 1, minP: 0 }
for (const [name, settings] of [
  ['everything', all],
  ['hot', { ...all, temperature: 3 }],
  ['cold', { ...all, temperature: 0.3 }],
  ['top-k', { ...all, topK: 5 }],
  ['top-k of more than there are', { ...all, topK: 1000 }],
  ['top-p', { ...all, topP: 0.7 }],
  ['top-p of nothing', { ...all, topP: 0 }],
  ['min-p', { ...all, minP: 0.2 }],
  ['all cuts', { temperature: 1.5, topK: 20, topP: 0.9, minP: 0.05 }],
] as const) {
  for (const [V, draws] of [
    [41, 600],
    [300, 200],
  ] as const) {
    const c = distributionCase(name, settings, { V, draws, seed: 30 + V })
    test(c.name, () => runCase(fast, c))
  }
}

const random = rng(8)
const mixed = Array.from({ length: 8 }, (_, i) => ({
  temperature: i % 4 === 0 ? 0 : 0.5 + random.uniform(),
  topK: random.integer(0, 30),
  topP: 0.5 + 0.5 * random.uniform(),
  minP: 0.1 * random.uniform(),
  seed: random.integer(0, 2 ** 32 - 1),
  step: i,
}))

test('a row alone draws what it draws in a batch', () => {
  const V = 500
  const args = sampleArgs(coarseLogits(random, mixed.length * V), V, mixed)
  const c = { name: 'sample', kernel: sample, config: { V }, args, check: () => {} }
  return assertSameInParts(device, c, Object.keys(args), ['ids'], eachRow(mixed.length))
})

test('rows without a finite logit, and infinite or undefined ones, give an id of the vocabulary', async () => {
  const V = 40
  const rows = [
    new Float32Array(V).fill(Number.NEGATIVE_INFINITY),
    new Float32Array(V).fill(Number.NaN),
    coarseLogits(random, V).fill(Number.POSITIVE_INFINITY, 3, 4),
    coarseLogits(random, V).fill(Number.NaN, 0, 20),
  ]
  for (const temperature of [0, 1e-30, 1]) {
    const settings = rows.map(() => ({ ...greedySettings, temperature, topK: 7, topP: 0.9 }))
    const logits = Float32Array.from(rows.flatMap((row) => [...row]))
    const { ids } = await runKernel(device, sample, { V }, sampleArgs(logits, V, settings))
    assert.ok(
      ids!.every((id) => id >= 0 && id < V),
      ids!.join(),
    )
  }
})

test.run()
