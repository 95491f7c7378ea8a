import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { Diagnostic } from '../../../codegen/diagnostics.ts'
import type { WeightFormatName } from '../../../kernels/formats/index.ts'
import { gemmW4A8 } from '../../../kernels/gemm/w4a8.ts'
import type { WgmmaTiles } from '../../../kernels/gemm/wgmma-plan.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { prepareKernel, runCase } from '../../support/run-kernel.ts'
import { type GemmOptions, gemm16Case, w4a8Case, w4a8GroupCase, w8a8Case } from '../cases/gemm.ts'
import { randomWgmmaTiles, wgmmaTiles } from '../cases/wgmma-tiles.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

/** Every way to share the work among warpgroups and CTAs; tokens, rows and columns that fill no tile. */
const named: Readonly<Record<string, WgmmaTiles>> = {
  'one warpgroup': wgmmaTiles({ tokens: 8, stages: 2 }),
  'warpgroups side by side': wgmmaTiles({ tokens: 24, stages: 3, rowGroups: 3 }),
  'two blocks, short groups of k-steps': wgmmaTiles({ tokens: 32, stages: 3, blocks: 2, steps: 2 }),
  'registers for the consumers': wgmmaTiles({
    tokens: 192,
    rowGroups: 2,
    stages: 3,
    steps: 2,
  }),
  'weights that stay in the cache': wgmmaTiles({ tokens: 32, rowGroups: 2, stages: 3, keep: 'weights' }),
  'wide stages, two producers': wgmmaTiles({ tokens: 16, rowGroups: 2, units: 4, stages: 2, producers: 2 }),
  'several stages of three units': wgmmaTiles({ tokens: 16, units: 3, stages: 3, producers: 2 }),
  'interleaved over K': wgmmaTiles({ tokens: 32, kGroups: 2, rowGroups: 2, units: 2, stages: 6 }),
  'more warpgroups along K than stages of a tile': wgmmaTiles({
    tokens: 16,
    kGroups: 4,
    units: 2,
    stages: 8,
  }),
  'split over a cluster': wgmmaTiles({ tokens: 16, split: 2, kGroups: 2, units: 2, stages: 4, producers: 2 }),
  'wide rows split over four CTAs': wgmmaTiles({ tokens: 32, rowGroups: 3, split: 4, stages: 7, steps: 2 }),
  'activations for two CTAs': wgmmaTiles({ tokens: 64, multicast: 2, rowGroups: 2, stages: 3 }),
  'activations for two CTAs, interleaved over K': wgmmaTiles({
    tokens: 32,
    multicast: 2,
    kGroups: 2,
    units: 2,
    stages: 4,
    producers: 2,
  }),
}

let seed = 1
for (const [name, tiles] of Object.entries(named)) {
  const options: GemmOptions = {
    M: 37 + seed,
    N: 136,
    K: 128 * (1 + (seed % 5)),
    seed: seed++,
    tiles,
    bias: seed % 2 === 0,
    residual: seed % 3 === 0,
  }
  const c = seed % 2 === 0 ? w4a8Case(options) : w4a8GroupCase(options)
  test(`equals the reference bit for bit, ${name}: ${c.name}`, () => runCase(device, c))
}

const random = rng(7)
for (let i = 0; i < 8; i++) {
  const [make, format] = [
    [w4a8Case, 'w4a8'],
    [(o: GemmOptions) => w4a8GroupCase({ ...o, group: 64 }), 'w4a8-g64'],
    [w8a8Case, 'w8a8'],
    [(o: GemmOptions) => w4a8GroupCase({ ...o, group: 32 }), 'w4a8-g32'],
  ][i % 4] as [typeof w4a8Case, WeightFormatName]
  const c = make({
    M: random.integer(1, 90),
    N: 8 * random.integer(1, 40),
    K: 128 * random.integer(1, 7),
    seed: 100 + i,
    tiles: randomWgmmaTiles(random, format),
    bias: random.integer(0, 1) === 1,
    residual: random.integer(0, 1) === 1,
    dtype: random.integer(0, 1) === 1 ? 'f16' : 'bf16',
    ...(format !== 'w8a8' && { zero: random.integer(0, 1) === 1 ? 'epilogue' : 'register' }),
  })
  test(`equals the reference bit for bit with tiles at random: ${c.name}`, () => runCase(device, c))
}

for (const [out, tiles] of [
  ['f16', wgmmaTiles({ tokens: 48, rowGroups: 2, stages: 3 })],
  ['f32', wgmmaTiles({ tokens: 16, stages: 2, steps: 8 })],
] as const) {
  const c = gemm16Case({ M: 50, N: 72, K: 384, seed: 31, tiles, out, bias: true, residual: true })
  test(`sums 16-bit weights in order: ${c.name}`, () => runCase(device, c))
}

test('persistent CTAs take several tiles each', async () => {
  const tiles = wgmmaTiles({ tokens: 16, rowGroups: 2, stages: 3, ctas: 2 })
  await runCase(device, w4a8Case({ M: 70, N: 200, K: 256, seed: 40, tiles, residual: true }))
})

for (const [what, M, change] of [
  ['bands of two', 64, { band: 2, ctas: 3 }],
  ['bands as wide as all, one row tile after the other', 64, { band: 8, ctas: 5 }],
  ['more CTAs than a band has tiles', 128, { band: 2, ctas: 13 }],
  ['a band that does not divide them', 70, { band: 2, ctas: 4 }],
  ['four CTAs that share activations', 256, { tokens: 32, band: 4, multicast: 4, ctas: 8 }],
] as const) {
  test(`walks over token tiles in bands: ${what}`, async () => {
    const tiles = wgmmaTiles({ tokens: 8, stages: 3, ...change })
    await runCase(device, w4a8Case({ M, N: 328, K: 256, seed: 44, tiles, residual: true }))
  })
}

for (const [what, M, change] of [
  ['fewer tiles than CTAs, which nobody shares', 16, { ctas: 5, pieces: 8 }],
  ['a wave of whole tiles before', 70, { ctas: 4, pieces: 3, producers: 2, staging: 3 }],
  [
    'two warpgroups, whose tiles others finish',
    40,
    { ctas: 2, pieces: 4, rowGroups: 2, blocks: 2, steps: 2 },
  ],
  ['few tiles left', 64, { ctas: 7, pieces: 2, rowGroups: 2 }],
] as const) {
  test(`shares the last wave: ${what}`, async () => {
    const tiles = wgmmaTiles({ tokens: 16, stages: 3, ...change })
    const c = w4a8Case({ M, N: 136, K: 640, seed: 50 + M, tiles, bias: true, residual: true })
    const { launch, tensors } = await prepareKernel(device, c.kernel, c.config, c.args)
    // The second launch finds the counters as the first did.
    for (const _ of [0, 1]) {
      tensors.out!.fill(0xff)
      launch.run()
      c.check({ out: await tensors.out!.read() })
    }
  })
}

for (const [what, M, N, change] of [
  ['a wave of whole tiles before', 120, 320, { tokens: 64, ctas: 8 }],
  [
    'two waves before, and a last tile of tokens that is less than a half',
    150,
    200,
    { tokens: 64, ctas: 5, stages: 5 },
  ],
  [
    'several warpgroups and blocks, two producers',
    90,
    640,
    { tokens: 64, rowGroups: 2, blocks: 2, steps: 2, ctas: 4, producers: 2 },
  ],
  ['clusters that share activations', 200, 512, { tokens: 64, multicast: 2, ctas: 6, staging: 3 }],
  ['stages of half a unit', 150, 200, { tokens: 64, units: 0.5, ctas: 5, stages: 4 }],
  ['wide stages', 128, 384, { tokens: 64, units: 2, ctas: 5, producers: 2 }],
  ['more tiles left than halves would bring', 120, 320, { tokens: 64, ctas: 6 }],
  ['fewer tiles than CTAs', 120, 320, { tokens: 64, ctas: 17 }],
] as const) {
  test(`cuts the last wave in halves: ${what}`, async () => {
    const tiles = wgmmaTiles({ stages: 3, halves: true, ...change })
    for (const make of [w4a8Case, gemm16Case]) {
      if (make === gemm16Case ? tiles.blocks > 1 || tiles.units > 1 : tiles.units < 1) continue
      await runCase(
        device,
        make({ M, N, K: 384, seed: 60 + M, tiles, bias: M % 3 === 0, residual: M % 4 === 0 }),
      )
    }
  })
}

test('the residual may be the output', async () => {
  for (const tiles of [
    wgmmaTiles({ tokens: 16, rowGroups: 2, stages: 3, ctas: 1 }),
    wgmmaTiles({ tokens: 16, kGroups: 2, units: 2, stages: 4 }),
  ]) {
    const c = w4a8Case({ M: 21, N: 136, K: 256, seed: 41, residual: true, tiles })
    const { launch, tensors } = await prepareKernel(device, c.kernel, c.config, c.args)
    tensors.out!.copyFrom(tensors.residual!)
    launch.set({ residual: tensors.out! })
    launch.run()
    c.check({ out: await tensors.out!.read() })
  }
})

test('shared activations are copied slab by slab, and columns that fill none are zeros', async () => {
  const tiles = wgmmaTiles({ tokens: 32, multicast: 2, units: 2, stages: 3 })
  for (const make of [w4a8Case, w8a8Case])
    await runCase(device, make({ M: 45, N: 136, K: 352, seed: 43, tiles, bias: true }))
})

for (const [what, shape, sentence] of [
  [
    'features that fill no copy',
    { N: 100, K: 256 },
    "argument 'out': expected rows of a multiple of 16 bytes",
  ],
  [
    'columns that fill no slab',
    { N: 136, K: 352 },
    "argument 'x': expected rows of a multiple of 128 elements",
  ],
] as const) {
  test(`refuses ${what}, before it runs`, async () => {
    const c = w8a8Case({ ...shape, M: 5, seed: 42, tiles: wgmmaTiles({ tokens: 16, stages: 3 }) })
    const error = await prepareKernel(device, c.kernel, c.config, c.args).catch((reason: Error) => reason)
    assert.match((error as Error).message, sentence)
  })
}

for (const [why, change, sentence] of [
  [
    'stages are no multiple of the warpgroups',
    { kGroups: 2, stages: 5 },
    'must be a multiple of kGroups = 2',
  ],
  ['the ring would deadlock', { kGroups: 4, stages: 4 }, 'must be at least twice kGroups = 4'],
  ['k-steps make no whole load', { steps: 1 }, 'steps = 1 must divide the 4 k-steps of a unit'],
  ['a sharer of activations has no whole octet', { tokens: 24, multicast: 2 }, 'a multiple of 8 tokens'],
  ['a cluster has two purposes', { split: 2, multicast: 2 }, 'splits K or shares activations, and not both'],
  ['partial sums have several blocks', { kGroups: 2, stages: 8, blocks: 2 }, 'have one block each'],
  ['CTAs share tiles without scratch', { pieces: 2 }, 'give scratch: true with `pieces`'],
  ['clusters share tiles', { pieces: 2, multicast: 2 }, 'without clusters'],
] as const) {
  test(`refuses tiles where ${why}`, () => {
    const c = {
      ...wgmmaTiles({ tokens: 16, stages: 4, ...change }),
      dtype: 'f16',
      bias: false,
      residual: false,
    } as const
    assert.throws(
      () => compileKernel(gemmW4A8, { ...c, zero: 'epilogue' }, 'sm_90a'),
      (error: Error) => error instanceof Diagnostic && error.message.includes(sentence),
    )
  })
}

test.run()
