import { type GemmOptions, w4a8Case, w4a8GroupCase, w8a8Case } from '../kernels/cases/gemm.ts'
import { anyGpu, caseName, testOnGpu } from '../support/gpu-cases.ts'

/** Integer GEMMs with the tiles that they take by default, on a GPU, at more and larger shapes than on the emulator. */
await testOnGpu('integer GEMMs on CUDA', anyGpu, (add) => {
  let seed = 100
  for (const M of [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 129, 300])
    for (const [N, K] of [
      [16, 128],
      [176, 1408],
      [512, 1024],
      [1040, 2048],
    ] as const) {
      const zero = seed % 4 < 2 ? 'epilogue' : 'register'
      const plain: GemmOptions = {
        ...{ M, N, K, seed, dtype: seed % 5 === 0 ? 'bf16' : 'f16' },
        ...{ bias: seed % 2 === 0, residual: seed % 3 === 0 },
      }
      seed++
      for (const make of [w4a8Case, w4a8GroupCase])
        add(caseName(make.name, { ...plain, zero }), () => make({ ...plain, zero }))
      add(caseName(w8a8Case.name, plain), () => w8a8Case(plain))
    }
})
