import { type GemmOptions, w4a8Case, w4a8GroupCase, w8a8Case } from '../kernels/cases/gemm.ts'
import { fp8SiluCase, gemm16SiluCase, integerEnding } from '../kernels/cases/gemm-epilogue.ts'
import { smallWgmmaTiles } from '../kernels/cases/gemm-fp8.ts'
import { randomWgmmaTiles } from '../kernels/cases/wgmma-tiles.ts'
import { anyGpu, caseName, testOnGpu } from '../support/gpu-cases.ts'
import { rng } from '../support/rng.ts'

const makers = { w4a8: w4a8Case, 'w4a8-g128': w4a8GroupCase, w8a8: w8a8Case } as const

/** Products that end with SiLU, in codes or in 32-bit floats, on a GPU, on `mma.sync` and on `wgmma`. */
await testOnGpu('endings of GEMMs on CUDA', anyGpu, (add, { target }) => {
  const hasWgmma = target.name === 'sm_90a'
  if (!hasWgmma) console.log('skipped: endings of GEMMs on wgmma, because the GPU has none')
  const random = rng(2)
  const endings = [
    { activation: 'silu-mul' },
    { activation: 'silu-mul', out: 'i8' },
    { out: 'i8' },
    { activation: 'silu-mul', out: 'f32' },
    { out: 'f32' },
  ] as const
  for (let i = 0; i < 60; i++) {
    const format = (['w4a8', 'w4a8-g128', 'w8a8'] as const)[i % 3]!
    const ending = endings[i % 5]!
    const options: GemmOptions = {
      M: random.integer(1, 300),
      N: 32 * random.integer(1, 40),
      K: 128 * random.integer(1, 12),
      seed: 900 + i,
      dtype: random.integer(0, 1) === 1 ? 'f16' : 'bf16',
      bias: random.integer(0, 1) === 1,
      ...(hasWgmma && i % 4 !== 0 && { tiles: randomWgmmaTiles(random, format) }),
    }
    add(caseName(format, { ...ending, ...options }), () =>
      integerEnding(makers[format](options), format, ending),
    )
  }
  const shape = { N: 528, K: 512 }
  add('w16 with SiLU on mma.sync', () => gemm16SiluCase({ M: 33, N: 1024, K: 512, seed: 960, bias: true }))
  if (!hasWgmma) return
  add('w16 with SiLU on wgmma', () =>
    gemm16SiluCase({ ...shape, M: 70, seed: 961, dtype: 'bf16', tiles: smallWgmmaTiles }),
  )
  add('fp8 with SiLU', () => fp8SiluCase({ ...shape, M: 40, seed: 962, bias: true }))
})
