import { weightFormats } from '../../kernels/formats/index.ts'
import { provenTiles } from '../../kernels/gemm/wgmma-tiles.ts'
import { type GemmOptions, gemm16Case, w4a8Case, w4a8GroupCase, w8a8Case } from '../kernels/cases/gemm.ts'
import { wgmmaTiles } from '../kernels/cases/wgmma-tiles.ts'
import { caseName, hopperGpu, testOnGpu } from '../support/gpu-cases.ts'

const makers = {
  w4a8: w4a8Case,
  'w4a8-g128': w4a8GroupCase,
  'w4a8-g32': (o: GemmOptions) => w4a8GroupCase({ ...o, group: 32 }),
  w8a8: w8a8Case,
  w16: gemm16Case,
} as const

/** Tiles that CTAs share along K, behind whole waves. */
const sharedTiles = [
  wgmmaTiles({ tokens: 128, rowGroups: 2, blocks: 2, steps: 2, stages: 4, ctas: 7, pieces: 3 }),
  wgmmaTiles({ tokens: 64, rowGroups: 3, units: 2, stages: 3, producers: 2, ctas: 13, pieces: 4 }),
  wgmmaTiles({ tokens: 128, rowGroups: 2, units: 2, stages: 2, producers: 2, ctas: 13, pieces: 2 }),
  wgmmaTiles({ tokens: 32, rowGroups: 2, stages: 6, ctas: 57, pieces: 2 }),
]

/** All tiles on `wgmma` that a tuner may try, and shared ones, on a GPU, at a shape that fills none of them. */
await testOnGpu('tiles on wgmma on CUDA', hopperGpu, (add) => {
  let seed = 600
  for (const format of Object.keys(makers) as (keyof typeof makers)[]) {
    const proven = provenTiles(weightFormats[format], format === 'w16' ? 'f16' : 'i8')
    for (const tiles of format === 'w16' ? proven : [...sharedTiles, ...proven]) {
      const options = { M: 333, N: 840, K: 1152, seed, tiles, bias: seed % 2 === 0, residual: seed % 3 !== 0 }
      seed++
      add(caseName(format, options), () => makers[format](options))
    }
  }
})
