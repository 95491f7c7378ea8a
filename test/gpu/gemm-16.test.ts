import { type GemmOptions, gemm16Case, w4a16Case } from '../kernels/cases/gemm.ts'
import { anyGpu, caseName, testOnGpu } from '../support/gpu-cases.ts'

/** GEMMs beside 16-bit activations with the tiles that they take by default, on a GPU. */
await testOnGpu('16-bit GEMMs on CUDA', anyGpu, (add) => {
  let seed = 100
  for (const M of [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 129, 300])
    for (const [N, K] of [
      [16, 128],
      [176, 1408],
      [512, 1024],
    ] as const) {
      const options: GemmOptions = {
        ...{ M, N, K, seed, dtype: seed % 5 === 0 ? 'bf16' : 'f16' },
        ...{ bias: seed % 2 === 0, residual: seed % 3 === 0 },
      }
      const group = ([128, 64, 32] as const)[seed++ % 3]!
      add(caseName(gemm16Case.name, options), () => gemm16Case(options))
      add(caseName(w4a16Case.name, { ...options, group }), () => w4a16Case({ ...options, group }))
    }
})
