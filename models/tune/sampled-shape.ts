import { unitColumns, unitRows } from '../../dsl/format.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import type { TileConstants } from '../../kernels/gemm/operands.ts'

/** Columns that say what a step of the main loop costs. */
const sampledColumns = 512

/** Tokens and features of the tile of a CTA, or of a cluster that shares activations, and columns of its ring's step. */
export function tileExtents(tiles: TileConstants): { M: number; N: number; K: number } {
  if (tiles.path === 'mma') return { M: tiles.tileM, N: tiles.tileN, K: tiles.tileK }
  const { tokens, rowGroups, blocks, multicast, units, kGroups, split } = tiles
  return {
    M: tokens,
    N: unitRows * rowGroups * blocks * multicast,
    K: unitColumns * units * kGroups * split,
  }
}

/** A part of a shape that the emulator runs in its place: one tile, and some steps of its main loop. */
export function sampledShape(tiles: TileConstants, { M, N, K }: GemmShape): GemmShape {
  const tile = tileExtents(tiles)
  const columns = Math.max(2 * tile.K, Math.ceil(sampledColumns / tile.K) * tile.K)
  return { M: Math.min(M, tile.M), N: Math.min(N, tile.N), K: Math.min(K, columns) }
}
