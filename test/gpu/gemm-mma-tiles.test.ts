import { weightFormats } from '../../kernels/formats/index.ts'
import { gemmSharedBytes } from '../../kernels/gemm/mma-tiles.ts'
import { w4a8Case, w4a8GroupCase } from '../kernels/cases/gemm.ts'
import { anyGpu, caseName, testOnGpu } from '../support/gpu-cases.ts'

/** Tiles on `mma.sync` of every size that fits, on a GPU. */
await testOnGpu('tiles on mma.sync on CUDA', anyGpu, (add, { target }) => {
  let seed = 400
  for (const tileM of [8, 16, 32, 64, 128])
    for (const [tileN, warpsN] of [
      [16, 1],
      [32, 1],
      [64, 2],
      [128, 4],
    ] as const)
      for (const warpsK of tileM * tileN <= 2048 ? [1, 2, 4] : [1])
        for (const stages of [2, 3]) {
          const tiles = { tileM, tileN, tileK: 128 * warpsK, warpsN, warpsK, stages }
          // Large tiles with many slices along K do not fit every target.
          if (gemmSharedBytes(weightFormats['w4a8-g128'], tiles) > target.sharedBytes) continue
          for (const make of [w4a8Case, w4a8GroupCase]) {
            const options = { M: 77, N: 144, K: 1024, seed: seed++, tiles }
            add(caseName(make.name, options), () => make(options))
          }
        }
})
