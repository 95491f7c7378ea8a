import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import { dequantizeCase } from '../kernels/cases/dequantize.ts'
import { type GemmOptions, w4a8ScaledCase, w4a16Case } from '../kernels/cases/gemm.ts'
import { fp8Case, smallWgmmaTiles } from '../kernels/cases/gemm-fp8.ts'
import { anyGpu, caseName, testOnGpu } from '../support/gpu-cases.ts'

/** What every weight format becomes in registers on a GPU, and the formats that only `wgmma` multiplies. */
await testOnGpu('weight formats on CUDA', anyGpu, (add, { target }) => {
  for (const zero of ['epilogue', 'register'] as const)
    for (const name of Object.keys(weightFormats) as WeightFormatName[])
      for (const x of weightFormats[name].activations)
        add(`dequantize ${name} beside ${x} with zero in the ${zero}`, () => dequantizeCase(name, zero, x, 1))

  if (target.name !== 'sm_90a') {
    console.log('skipped: weight formats on wgmma, because the GPU has none')
    return
  }
  let seed = 200
  for (const M of [1, 17, 130])
    for (const [N, K] of [
      [72, 256],
      [520, 1408],
    ] as const) {
      const next = (): GemmOptions => ({ M, N, K, seed: seed++, bias: M > 1, residual: M > 16 })
      const makers = {
        fp8: () => fp8Case('fp8', next()),
        'w4a8-fp8': () => fp8Case('w4a8-fp8', { ...next(), dtype: 'bf16' }),
        w4a16: () => w4a16Case({ ...next(), tiles: smallWgmmaTiles }),
        'w4a16 in groups of 32': () =>
          w4a16Case({ ...next(), dtype: 'bf16', group: 32, tiles: smallWgmmaTiles }),
        'w4a8 with sums of inputs': () => w4a8ScaledCase({ ...next(), tiles: smallWgmmaTiles }),
        'w4a8 with sums of inputs, on mma.sync': () => w4a8ScaledCase(next()),
      } as const
      for (const [name, make] of Object.entries(makers)) add(caseName(name, { M, N, K }), make)
    }
})
