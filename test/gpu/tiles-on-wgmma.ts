import { weightFormats } from '../../kernels/formats/index.ts'
import { type WgmmaTiles, wgmmaCluster } from '../../kernels/gemm/wgmma-plan.ts'
import { provenTiles } from '../../kernels/gemm/wgmma-tiles.ts'
import {
  type GemmOptions,
  gemm16Case,
  once,
  w4a8Case,
  w4a8GroupCase,
  w8a8Case,
  withTiles,
} from '../kernels/cases/gemm.ts'
import { fp8Case } from '../kernels/cases/gemm-fp8.ts'
import { wgmmaTiles } from '../kernels/cases/wgmma-tiles.ts'
import { caseName, hopperGpu, testOnGpu } from '../support/gpu-cases.ts'

const makers = {
  w4a8: w4a8Case,
  'w4a8-g128': w4a8GroupCase,
  'w4a8-g32': (o: GemmOptions) => w4a8GroupCase({ ...o, group: 32 }),
  w8a8: w8a8Case,
  w16: gemm16Case,
  fp8: (o: GemmOptions) => fp8Case('fp8', o),
} as const

/** Fills no tile. */
const shape = { M: 333, N: 840, K: 1152 }

/** Tiles that CTAs share along K, behind whole waves. */
const sharedTiles = [
  wgmmaTiles({ tokens: 128, rowGroups: 2, blocks: 2, steps: 2, stages: 4, ctas: 7, pieces: 3 }),
  wgmmaTiles({ tokens: 64, rowGroups: 3, units: 2, stages: 3, producers: 2, ctas: 13, pieces: 4 }),
  wgmmaTiles({ tokens: 128, rowGroups: 2, units: 2, stages: 2, producers: 2, ctas: 13, pieces: 2 }),
  wgmmaTiles({ tokens: 32, rowGroups: 2, stages: 6, ctas: 57, pieces: 2 }),
]

/** Tiles with so few CTAs that one is left for a last wave, which is cut in halves. */
function withLastWave(tiles: WgmmaTiles): WgmmaTiles {
  if (!tiles.halves) return tiles
  const rows = Math.ceil(shape.N / (64 * tiles.rowGroups * tiles.blocks))
  const clusters = Math.ceil((rows * Math.ceil(shape.M / tiles.tokens)) / tiles.multicast)
  return { ...tiles, ctas: Math.max(2, clusters - 1) * wgmmaCluster(tiles) }
}

/**
 * All tiles on `wgmma` that a tuner may try for a format, on a GPU: products of the same operands, with a bias and a
 * residual or without.
 */
export async function testTiles(format: keyof typeof makers): Promise<void> {
  await testOnGpu(`tiles on wgmma on CUDA, ${format}`, hopperGpu, (add) => {
    const x = format === 'w16' ? 'f16' : format === 'fp8' ? 'e4m3' : 'i8'
    const plainest = wgmmaTiles({ tokens: 8, stages: 2 })
    const products = [
      { bias: false, residual: false },
      { bias: true, residual: true },
      { bias: true, residual: false },
    ].map((ends, i) => once(() => makers[format]({ ...shape, ...ends, seed: 600 + i, tiles: plainest })))
    const proven = provenTiles(weightFormats[format], x).map(withLastWave)
    const all = x === 'i8' ? [...sharedTiles, ...proven] : proven
    all.forEach((tiles, i) => {
      add(caseName(format, { ...shape, tiles }), () => withTiles(products[i % products.length]!(), tiles))
    })
  })
}
