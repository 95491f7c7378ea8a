import type { Config } from '../../codegen/program.ts'
import type { Target } from '../../codegen/target.ts'
import type { Dims } from '../../dsl/kernel.ts'
import type { WeightFormatName } from '../../kernels/formats/index.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import { gemmConstants, gemmKernel, type TileConstants } from '../../kernels/gemm/operands.ts'
import { gemmSpace } from '../../kernels/gemm/space.ts'
import { canonicalJson } from '../../runtime/canonical-json.ts'
import type { TuneTask } from '../../runtime/tune/tune.ts'
import { untunedTiles } from '../best-tiles.ts'
import { sampledShape } from './sampled-shape.ts'

/**
 * Products to be tuned, in an order in which neighbours follow each other: shape by shape, few tokens first.
 *
 * @param measures whether there are times to be had; the emulator runs a part of a product, and programs that are compiled
 *   for a shape are compiled for that part.
 */
export function gemmTask(
  format: WeightFormatName,
  shapes: readonly GemmShape[],
  target: Target,
  measures: boolean,
): TuneTask {
  const space = gemmSpace(format)
  const kernel = gemmKernel(format)
  return {
    cells: [...shapes].sort((a, b) => a.N * a.K - b.N * b.K || a.N - b.N || a.M - b.M) as unknown as Dims[],
    candidates(dims) {
      const shape = dims as unknown as GemmShape
      const tried = space.configurations(target, dims)
      // So that what is on record is never slower than what would be taken without it.
      const known = measures ? plainTiles(untunedTiles(format, shape, target)) : undefined
      if (known && !tried.some((tiles) => canonicalJson(tiles) === canonicalJson(known))) tried.push(known)
      return tried.map((tiles) => {
        const { N, K } = measures ? shape : sampledShape(tiles, shape)
        const constants = gemmConstants(format, { N, K }, tiles, { dtype: 'f16' })
        return {
          kernel,
          config: tiles as unknown as Config,
          constants: constants as unknown as Config,
          ...('N' in constants && { dims: { N, K } }),
        }
      })
    },
  }
}

/** Tiles without the extents of the packed weights. */
function plainTiles(tiles: TileConstants): TileConstants {
  if (tiles.path === 'wgmma') return tiles
  const { path, tileM, tileN, tileK, stages, warpsN, warpsK } = tiles
  return { path, tileM, tileN, tileK, stages, warpsN, warpsK }
}
