import {
  barrier,
  blockIdx,
  type f32,
  type In,
  type InOut,
  kernel,
  type Out,
  shared,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'

const TILE = 32
/** Rows of a tile that a CTA's threads take at a time. */
const TURN = 8

const options = {
  block: [TILE, TURN] as const,
}

/** dst = srcᵀ. */
export const transpose = kernel(
  import.meta.url,
  { ...options, grid: (d) => [ceilDiv(d.R!, TILE), ceilDiv(d.C!, TILE)] },
  function transpose(a: { dst: Out<f32, 'C R'>; src: In<f32, 'R C'> }) {
    // One more column, so that a column of the tile lies in all banks.
    const tile = shared<f32>('f32', [TILE, TILE + 1])
    const row = blockIdx.x * TILE
    const column = blockIdx.y * TILE
    const rows = a.src.dim('R')
    const columns = a.src.dim('C')
    for (const turn of unroll(0, TILE, TURN)) {
      const r = threadIdx.y + turn
      if (row + r < rows && column + threadIdx.x < columns)
        tile.put(a.src.at(row + r, column + threadIdx.x), r, threadIdx.x)
    }
    barrier()
    for (const turn of unroll(0, TILE, TURN)) {
      const r = threadIdx.y + turn
      if (column + r < columns && row + threadIdx.x < rows)
        a.dst.put(tile.at(threadIdx.x, r), column + r, row + threadIdx.x)
    }
  },
)

/** Copies what lies above the diagonal of a square matrix to below it. */
export const mirrorUpper = kernel(
  import.meta.url,
  { ...options, grid: (d) => [ceilDiv(d.K!, TILE), ceilDiv(d.K!, TILE)] },
  function mirrorUpper(a: { m: InOut<f32, 'K K'> }) {
    if (blockIdx.x < blockIdx.y) return
    const tile = shared<f32>('f32', [TILE, TILE + 1])
    const row = blockIdx.y * TILE
    const column = blockIdx.x * TILE
    const K = a.m.dim('K')
    for (const turn of unroll(0, TILE, TURN)) {
      const r = threadIdx.y + turn
      if (row + r < K && column + threadIdx.x < K)
        tile.put(a.m.at(row + r, column + threadIdx.x), r, threadIdx.x)
    }
    barrier()
    for (const turn of unroll(0, TILE, TURN)) {
      const r = threadIdx.y + turn
      if (column + r < K && row + threadIdx.x < column + r)
        a.m.put(tile.at(threadIdx.x, r), column + r, row + threadIdx.x)
    }
  },
)

/** Zeros below the diagonal of a square matrix. */
export const clearLower = kernel(
  import.meta.url,
  { ...options, grid: (d) => [ceilDiv(d.K!, TILE), ceilDiv(d.K!, TILE)] },
  function clearLower(a: { m: InOut<f32, 'K K'> }) {
    const K = a.m.dim('K')
    const column = blockIdx.x * TILE + threadIdx.x
    for (const turn of unroll(0, TILE, TURN)) {
      const row = blockIdx.y * TILE + threadIdx.y + turn
      if (row < K && column < row) a.m.put(0, row, column)
    }
  },
)
