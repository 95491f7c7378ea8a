import {
  bf16,
  blockIdx,
  f32,
  type In,
  type InOut,
  type i32,
  kernel,
  type Out,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { byColumns, putColumns } from './transpose.ts'

/**
 * Operands of a product of f32 matrices by tensor cores that multiply bf16. Each element x is h + l, two bf16 numbers that
 * have 16 bits of it. Side by side along K, the first operand as [h | l | h] and the second as [h | h | l] make one product
 * of h·h, l·h and h·l: what is left out is 2⁻¹⁷ of a term. With one term each, [h] and [h], operands are rounded to bf16.
 */
export interface HalfOperandConfig {
  readonly terms: 1 | 3
  readonly side: 'first' | 'second'
}

const THREADS = 256
const TURNS = 4

/** Rows that lie along K, [R, C], as bf16 [R, terms · C]. */
export const splitRows = kernel(
  import.meta.url,
  { grid: (d) => [d.R!, ceilDiv(d.C!, THREADS * TURNS)], block: [THREADS] },
  function splitRows(a: { dst: Out<bf16, 'R P'>; src: In<f32, 'R C'> }, c: HalfOperandConfig) {
    const row = blockIdx.x
    const columns = a.src.dim('C')
    for (const turn of unroll(TURNS)) {
      const column = blockIdx.y * (THREADS * TURNS) + turn * THREADS + threadIdx.x
      if (column < columns) put(a.dst, c, a.src.at(row, column), row, column, columns)
    }
  },
)

/** Columns that lie along K, [R, C], as bf16 [C, terms · R]. */
export const splitColumns = kernel(
  import.meta.url,
  byColumns,
  function splitColumns(a: { dst: Out<bf16, 'C P'>; src: In<f32, 'R C'> }, c: HalfOperandConfig) {
    putColumns(a.src, (value, row, column) => {
      put(a.dst, c, value, column, row, a.src.dim('R'))
    })
  },
)

/** Device: an element at its places among the `extent` columns of each term. */
function put(
  dst: Out<bf16, string>,
  { terms, side }: HalfOperandConfig,
  value: f32,
  row: i32,
  column: i32,
  extent: i32,
): void {
  const high = bf16(value)
  dst.put(high, row, column)
  if (terms === 3) {
    const low = bf16(value - f32(high))
    dst.put(side === 'first' ? low : high, row, column + extent)
    dst.put(side === 'first' ? high : low, row, column + 2 * extent)
  }
}

/** A matrix is added to a part of another, from a row and column on. */
export const addPart = kernel(
  import.meta.url,
  { grid: (d) => [d.M!, ceilDiv(d.N!, THREADS * TURNS)], block: [THREADS] },
  function addPart(a: { dst: InOut<f32, 'R C'>; src: In<f32, 'M N'>; row: i32; column: i32 }) {
    for (const turn of unroll(TURNS)) {
      const column = blockIdx.y * (THREADS * TURNS) + turn * THREADS + threadIdx.x
      if (column < a.src.dim('N')) {
        const [r, c] = [a.row + blockIdx.x, a.column + column] as const
        a.dst.put(a.dst.at(r, c) + a.src.at(blockIdx.x, column), r, c)
      }
    }
  },
)
