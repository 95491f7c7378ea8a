import type { Layout } from '../layout/index.ts'
import { layout } from '../layout/index.ts'

/**
 * `ldmatrix.m8n8.b16` loads one, two or four 8×8 matrices of 16-bit elements from shared memory, a 16-byte row per
 * address (PTX ISA, "Warp-level matrix load instruction: ldmatrix"). Register i of a lane is its part of matrix i.
 */
export const ldmatrix: {
  /** (row, matrix) → the lane whose address points to that row. */
  readonly addressLane: Layout
  /** (lane, half of the register) → `row + 8 * column` of a matrix. */
  readonly fragment: Layout
  /** The same with `.trans`: the matrix arrives transposed. */
  readonly transposed: Layout
} = Object.freeze({
  addressLane: layout([8, 4], [1, 8]),
  fragment: layout([[4, 8], 2], [[16, 1], 8]),
  transposed: layout([[4, 8], 2], [[2, 8], 1]),
})
