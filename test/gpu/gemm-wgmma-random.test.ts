import { type GemmOptions, w4a8Case, w4a8GroupCase, w8a8Case } from '../kernels/cases/gemm.ts'
import { randomWgmmaTiles } from '../kernels/cases/wgmma-tiles.ts'
import { caseName, hopperGpu, testOnGpu } from '../support/gpu-cases.ts'
import { rng } from '../support/rng.ts'

const makers = {
  w4a8: w4a8Case,
  'w4a8-g128': w4a8GroupCase,
  'w4a8-g32': (o: GemmOptions) => w4a8GroupCase({ ...o, group: 32 }),
  w8a8: w8a8Case,
} as const

/** Tiles on `wgmma`, shapes and endings at random, on a GPU. */
await testOnGpu('random tiles on wgmma on CUDA', hopperGpu, (add) => {
  const random = rng(1)
  const formats = Object.keys(makers) as (keyof typeof makers)[]
  for (let i = 0; i < 60; i++) {
    const format = formats[i % formats.length]!
    const options: GemmOptions = {
      M: random.integer(1, 700),
      N: 8 * random.integer(1, 200),
      K: 128 * random.integer(1, 20),
      seed: 800 + i,
      tiles: randomWgmmaTiles(random, format),
      dtype: random.integer(0, 1) === 1 ? 'f16' : 'bf16',
      bias: random.integer(0, 1) === 1,
      residual: random.integer(0, 1) === 1,
      ...(format !== 'w8a8' && { zero: random.integer(0, 1) === 1 ? 'epilogue' : 'register' }),
    }
    add(caseName(format, options), () => makers[format](options))
  }
})
