import {
  barrier,
  blockIdx,
  type Dim3,
  type Dims,
  type f32,
  type In,
  type InOut,
  type i32,
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

/** The launch of a kernel that goes through a matrix [R, C] by columns. */
export const byColumns = {
  ...options,
  grid: (d: Dims): Dim3 => [ceilDiv(d.R!, TILE), ceilDiv(d.C!, TILE)],
}

/** Device: has each element of the CTA's tile put where it belongs, neighbours of a column by neighbouring threads. */
export function putColumns(src: In<f32, 'R C'>, put: (value: f32, row: i32, column: i32) => void): void {
  // One more column, so that a column of the tile lies in all banks.
  const tile = shared<f32>('f32', [TILE, TILE + 1])
  const row = blockIdx.x * TILE
  const column = blockIdx.y * TILE
  const rows = src.dim('R')
  const columns = src.dim('C')
  for (const turn of unroll(0, TILE, TURN)) {
    const r = threadIdx.y + turn
    if (row + r < rows && column + threadIdx.x < columns)
      tile.put(src.at(row + r, column + threadIdx.x), r, threadIdx.x)
  }
  barrier()
  for (const turn of unroll(0, TILE, TURN)) {
    const r = threadIdx.y + turn
    if (column + r < columns && row + threadIdx.x < rows)
      put(tile.at(threadIdx.x, r), row + threadIdx.x, column + r)
  }
}

/** dst = srcᵀ. */
export const transpose = kernel(
  import.meta.url,
  byColumns,
  function transpose(a: { dst: Out<f32, 'C R'>; src: In<f32, 'R C'> }) {
    putColumns(a.src, (value, row, column) => {
      a.dst.put(value, column, row)
    })
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
