import { suite } from 'uvu'
import type { KvFormatName } from '../../kernels/formats/kv.ts'
import { describeDevices, openDevice } from '../../runtime/open-device.ts'
import { pagedAttentionCase, ropeAppendCase } from '../kernels/cases/kv.ts'
import { distributionCase, greedyCase, logProbsCase } from '../kernels/cases/logits.ts'
import {
  embedTokensCase,
  quantizeRowsCase,
  quantizeRowsFp8Case,
  quantizeRowsSummingCase,
  rmsNormCase,
  rmsNormQuantizeCase,
  rmsNormRowsCase,
  siluMulCase,
  siluMulQuantizeCase,
} from '../kernels/cases/rows.ts'
import { assertSameInParts } from '../support/batch-invariance.ts'
import { halfTypes } from '../support/halfs.ts'
import { type KernelCase, runCase } from '../support/run-kernel.ts'

/** All kernels but the GEMMs on a GPU: the cases of the emulator's tests at more and larger shapes. */
const { gpus } = await describeDevices()
const gpu = gpus.find((each) => each.target)
const test = suite('row, cache, attention and sampling kernels on CUDA')
if (!gpu) {
  console.log('skipped: the row, cache, attention and sampling kernels on CUDA, because no GPU')
  test.skip('needs a GPU', () => {})
}
const check = (gpu ? test : test.skip) as typeof test

// Not in a `before` hook, whose errors uvu does not show.
const device = gpu && (await openDevice(gpu.name))
test.after(async () => {
  await device?.close()
})

/** Inputs and references are made when a case's turn comes: all at once would fill the memory. */
const run = (name: string, make: () => KernelCase) => check(name, () => runCase(device!, make()))

for (const dtype of halfTypes) {
  for (const H of [8, 40, 256, 264, 640, 1408, 4096, 5120, 11008]) {
    for (const T of [1, 3, 17, 130]) {
      const o = { T, H, dtype, seed: T * H }
      for (const make of [
        embedTokensCase,
        quantizeRowsCase,
        quantizeRowsSummingCase,
        ...((gpu?.target?.capability ?? 0) >= 89 ? [quantizeRowsFp8Case] : []),
        rmsNormCase,
        rmsNormQuantizeCase,
        siluMulCase,
        siluMulQuantizeCase,
      ])
        run(`${make.name} T=${T} H=${H} ${dtype}`, () => make(o))
      run(`rmsNormRowsCase T=${T} H=${H} ${dtype}`, () => rmsNormRowsCase({ ...o, R: 5 }))
    }
  }
}

const heads = [
  { Hq: 1, Hkv: 1 },
  { Hq: 3, Hkv: 3 },
  { Hq: 8, Hkv: 4 },
  { Hq: 4, Hkv: 1 },
  { Hq: 7, Hkv: 1 },
  { Hq: 16, Hkv: 2 },
]
const mixed = [
  { context: 1, queries: 1 },
  { context: 63, queries: 1 },
  { context: 64, queries: 64 },
  { context: 65, queries: 1 },
  { context: 130, queries: 17 },
  { context: 700, queries: 1 },
]
const KV = ['kv4', 'kv8', 'kv16'] satisfies KvFormatName[]
let seed = 1
for (const kv of KV) {
  for (const D of [64, 96, 128, 256]) {
    for (const { Hq, Hkv } of heads) {
      const o = { kv, D, Hq, Hkv, dtype: halfTypes[seed % 2]!, seed: seed++ }
      const name = `${kv} D=${D} heads ${Hq}/${Hkv} ${o.dtype}`
      for (const T of [1, 17, 90]) run(`ropeAppend T=${T} ${name}`, () => ropeAppendCase({ ...o, T }))
      run(`pagedAttention ${name}`, () => pagedAttentionCase({ ...o, sequences: mixed }))
    }
  }
  run(`pagedAttention ${kv} of one token's weight`, () =>
    pagedAttentionCase({
      kv,
      D: 128,
      Hq: 4,
      Hkv: 2,
      dtype: 'f16',
      seed: seed++,
      sequences: mixed,
      keySigma: 200,
    }),
  )
  check(`pagedAttention ${kv}: a token alone, or a prompt in pieces, gives what the whole step gives`, () => {
    const c = pagedAttentionCase({
      kv,
      D: 128,
      Hq: 8,
      Hkv: 2,
      dtype: 'f16',
      seed: seed++,
      sequences: mixed,
    })
    const rows = ['q', 'sequence', 'positions', 'out']
    return assertSameInParts(device!, c, rows, ['out'], [0, 1, 2, 3, 20, 66, 67, 80, 84])
  })
}

for (const V of [1, 7, 4101, 8192, 32000, 128256]) {
  for (const B of [1, 5]) {
    run(`logProbs B=${B} V=${V}`, () => logProbsCase({ B, V, seed: V + B }))
    run(`sample greedy B=${B} V=${V}`, () => greedyCase({ B, V, seed: V + B }))
  }
}

const all = { temperature: 1, topK: 0, topP: 1, minP: 0 }
for (const [name, settings] of [
  ['everything', all],
  ['hot', { ...all, temperature: 3 }],
  ['top-k', { ...all, topK: 5 }],
  ['top-p', { ...all, topP: 0.7 }],
  ['min-p', { ...all, minP: 0.2 }],
  ['all cuts', { temperature: 1.5, topK: 20, topP: 0.9, minP: 0.05 }],
] as const) {
  for (const [V, draws] of [
    [41, 4000],
    [300, 4000],
    [8192, 2000],
  ] as const) {
    run(`sample ${name} V=${V}`, () => distributionCase(name, settings, { V, draws, seed: V }))
  }
}

test.run()
