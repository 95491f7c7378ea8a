import { suite } from 'uvu'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import { gemmSharedBytes } from '../../kernels/gemm-tiles.ts'
import { provenTiles } from '../../kernels/gemm-wgmma-tiles.ts'
import { describeDevices, openDevice } from '../../runtime/open-device.ts'
import { dequantizeCase } from '../kernels/cases/dequantize.ts'
import {
  type GemmOptions,
  gemm16Case,
  w4a8Case,
  w4a8GroupCase,
  w4a8ScaledCase,
  w4a16Case,
  w8a8Case,
} from '../kernels/cases/gemm.ts'
import { fp8SiluCase, gemm16SiluCase, integerEnding } from '../kernels/cases/gemm-epilogue.ts'
import { fp8Case, smallWgmmaTiles } from '../kernels/cases/gemm-fp8.ts'
import { randomWgmmaTiles } from '../kernels/cases/wgmma-tiles.ts'
import { rng } from '../support/rng.ts'
import { type KernelCase, runCase } from '../support/run-kernel.ts'

/** The GEMM kernels on a GPU: the cases of the emulator's tests at more and larger shapes. */
const { gpus } = await describeDevices()
const gpu = gpus.find((each) => each.target)
const test = suite('GEMM on CUDA')
if (!gpu) {
  console.log('skipped: the GEMM kernels on CUDA, because no GPU')
  test.skip('needs a GPU', () => {})
}
const check = (gpu ? test : test.skip) as typeof test

// Not in a `before` hook, whose errors uvu does not show.
const device = gpu && (await openDevice(gpu.name))
test.after(async () => {
  await device?.close()
})

const run = (c: KernelCase) => check(c.name, () => runCase(device!, c))

for (const zero of ['epilogue', 'register'] as const) {
  for (const name of Object.keys(weightFormats) as WeightFormatName[])
    for (const x of weightFormats[name].activations) run(dequantizeCase(name, zero, x, 1))
}

let seed = 100
for (const M of [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 129, 300]) {
  for (const [N, K] of [
    [16, 128],
    [176, 1408],
    [512, 1024],
    [1040, 2048],
  ] as const) {
    const extras = { bias: seed % 2 === 0, residual: seed % 3 === 0 }
    const dtype = seed % 5 === 0 ? 'bf16' : 'f16'
    const zero = seed % 4 < 2 ? 'epilogue' : 'register'
    const options = { M, N, K, seed: seed++, dtype, zero, ...extras } as const
    run(w4a8Case(options))
    run(w4a8GroupCase(options))
    run(w8a8Case({ ...options, zero: undefined }))
    if (N < 1000) run(gemm16Case({ ...options, zero: undefined }))
    if (N < 1000) run(w4a16Case({ ...options, zero: undefined, group: ([128, 64, 32] as const)[seed % 3]! }))
  }
}

if (gpu?.target?.name === 'sm_90a') {
  for (const M of [1, 17, 130]) {
    for (const [N, K] of [
      [72, 256],
      [520, 1408],
    ] as const) {
      const options = { M, N, K, seed: seed++, bias: M > 1, residual: M > 16 } as const
      run(fp8Case('fp8', options))
      run(fp8Case('w4a8-fp8', { ...options, dtype: 'bf16' }))
      run(w4a16Case({ ...options, tiles: smallWgmmaTiles }))
      run(w4a16Case({ ...options, dtype: 'bf16', group: 32, tiles: smallWgmmaTiles }))
      run(w4a8ScaledCase({ ...options, tiles: smallWgmmaTiles }))
      run(w4a8ScaledCase(options))
    }
  }
}

for (const tileM of [8, 16, 32, 64, 128]) {
  for (const [tileN, warpsN] of [
    [16, 1],
    [32, 1],
    [64, 2],
    [128, 4],
  ] as const) {
    for (const warpsK of tileM * tileN <= 2048 ? [1, 2, 4] : [1]) {
      for (const stages of [2, 3]) {
        const tiles = { tileM, tileN, tileK: 128 * warpsK, warpsN, warpsK, stages }
        // Large tiles with many slices along K do not fit every target.
        if (gpu && gemmSharedBytes(weightFormats['w4a8-g128'], tiles) > gpu.target!.sharedBytes) continue
        run(w4a8Case({ M: 77, N: 144, K: 1024, seed: seed++, tiles }))
        run(w4a8GroupCase({ M: 77, N: 144, K: 1024, seed: seed++, tiles }))
      }
    }
  }
}

// Tiles on `wgmma`: all that a tuner may try at a shape that fills none of them, and others at random.
if (gpu?.target?.name === 'sm_90a') {
  const shape = { M: 333, N: 840, K: 1152 }
  const makers = {
    w4a8: w4a8Case,
    'w4a8-g128': w4a8GroupCase,
    'w4a8-g32': (o: GemmOptions) => w4a8GroupCase({ ...o, group: 32 }),
    w8a8: w8a8Case,
    w16: gemm16Case,
  } as const
  for (const [format, make] of Object.entries(makers) as [
    keyof typeof makers,
    (o: GemmOptions) => KernelCase,
  ][]) {
    for (const tiles of provenTiles(weightFormats[format], format === 'w16' ? 'f16' : 'i8')) {
      run(make({ ...shape, seed: seed++, tiles, bias: seed % 2 === 0, residual: seed % 3 !== 0 }))
    }
  }
  const random = rng(1)
  for (let i = 0; i < 60; i++) {
    const format = (['w4a8', 'w4a8-g128', 'w4a8-g32', 'w8a8'] as const)[i % 4]!
    const c = makers[format]({
      M: random.integer(1, 700),
      N: 8 * random.integer(1, 200),
      K: 128 * random.integer(1, 20),
      seed: seed++,
      tiles: randomWgmmaTiles(random, format),
      dtype: random.integer(0, 1) === 1 ? 'f16' : 'bf16',
      bias: random.integer(0, 1) === 1,
      residual: random.integer(0, 1) === 1,
      ...(format !== 'w8a8' && { zero: random.integer(0, 1) === 1 ? 'epilogue' : 'register' }),
    })
    run(c)
  }
}

// Other endings, on both paths.
{
  const random = rng(2)
  const endings = [
    { activation: 'silu-mul' },
    { activation: 'silu-mul', out: 'i8' },
    { out: 'i8' },
    { activation: 'silu-mul', out: 'f32' },
    { out: 'f32' },
  ] as const
  const makers = { w4a8: w4a8Case, 'w4a8-g128': w4a8GroupCase, w8a8: w8a8Case } as const
  for (let i = 0; i < 60; i++) {
    const format = (['w4a8', 'w4a8-g128', 'w8a8'] as const)[i % 3]!
    const onWgmma = gpu?.target?.name === 'sm_90a' && i % 4 !== 0
    const c = makers[format]({
      M: random.integer(1, 300),
      N: 32 * random.integer(1, 40),
      K: 128 * random.integer(1, 12),
      seed: seed++,
      dtype: random.integer(0, 1) === 1 ? 'f16' : 'bf16',
      bias: random.integer(0, 1) === 1,
      ...(onWgmma && { tiles: randomWgmmaTiles(random, format) }),
    })
    run(integerEnding(c, format, endings[i % 5]!))
  }
  run(gemm16SiluCase({ M: 33, N: 1024, K: 512, seed: seed++, bias: true }))
  if (gpu?.target?.name === 'sm_90a') {
    run(gemm16SiluCase({ M: 70, N: 528, K: 512, seed: seed++, dtype: 'bf16', tiles: smallWgmmaTiles }))
    run(fp8SiluCase({ M: 40, N: 528, K: 512, seed: seed++, bias: true }))
  }
}

test.run()
