import {
  copyAsync,
  type f32,
  type In,
  type i32,
  idiv,
  type Shared,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'

/** What the products of f32 matrices share. */

/** Rows and columns of a tile of the product, steps in flight, and threads. */
export const PRODUCT_TILE = 128
export const STAGES = 3
export const THREADS = 256

export interface ProductConfig {
  /** The first operand is stored as [K, M], the second as [N, K]. */
  readonly transposeA: boolean
  readonly transposeB: boolean
  /** Floats of one access: 4 where offsets and rows of all three matrices are multiples of 16 bytes, 1 otherwise. */
  readonly vec: 4 | 1
  /** Whether the product is added to what is there. */
  readonly add: boolean
  /** `upper`: tiles of 128 × 128 that lie below the diagonal are left alone. */
  readonly part: 'all' | 'upper'
  /** Whether sums begin at the column of `a` that the tile's first row has: for upper triangular `a`, in whole tiles. */
  readonly triangular: boolean
}

/** CTAs of a product of M × N. */
export const productGrid = (M: number, N: number): [number, number] => [
  ceilDiv(N, PRODUCT_TILE),
  ceilDiv(M, PRODUCT_TILE),
]

export interface OperandPlace {
  /** The operand's corner in its matrix. */
  readonly row: i32
  readonly column: i32
  /** The tile's first row (of M or N), and how many there are in all. */
  readonly first: i32
  readonly extent: i32
  /** The step's first column, and how many there are in all. */
  readonly k: i32
  readonly K: i32
}

export interface OperandCopy {
  /** Columns of a step. */
  readonly step: number
  /** Whether the operand's rows lie along K. */
  readonly along: boolean
  readonly vec: 4 | 1
}

/**
 * Device: starts the copies of a step's 128 × `step` elements of an operand, as they lie in global memory: [row, column of the
 * step] where rows lie along K, [column of the step, row] otherwise. What is outside becomes zeros.
 */
export function copyOperand(
  dst: Shared<f32>,
  src: In<f32, string>,
  p: OperandPlace,
  { step, along, vec }: OperandCopy,
): void {
  const chunks = (along ? step : PRODUCT_TILE) / vec
  for (const turn of unroll((PRODUCT_TILE * step) / (vec * THREADS))) {
    const copy = threadIdx.x + turn * THREADS
    const outer = idiv(copy, chunks)
    const at = (copy % chunks) * vec
    if (along) {
      const valid = p.first + outer < p.extent && p.k + at < p.K
      const from = [p.row + p.first + outer, p.column + p.k + at]
      copyAsync(dst, [outer, at], src, from, vec === 4 ? 16 : 4, valid)
    } else {
      const valid = p.k + outer < p.K && p.first + at < p.extent
      const from = [p.row + p.k + outer, p.column + p.first + at]
      copyAsync(dst, [outer, at], src, from, vec === 4 ? 16 : 4, valid)
    }
  }
}
