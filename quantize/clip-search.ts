import { type Matrix, rowOf } from './matrix.ts'
import type { ClipRatio } from './round-to-nearest.ts'

/** Ratios tried, from the whole range down, in steps of 2 %. */
const steps = 25
const step = 0.02

/**
 * For each row, the part of its range that loses least in the sum of squared weight errors: a narrower grid is finer
 * for all weights but the few that it cuts off. Costs 25 times the work of rounding alone.
 */
export const clipByWeightError: ClipRatio = (grid, matrix, n) => {
  const row = rowOf(matrix, n)
  const single: Matrix = { ...matrix, rows: 1, values: row }
  const trial = grid.allocate(single)
  const decoded = new Float32Array(row.length)
  let best = 1
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < steps; i++) {
    const ratio = 1 - i * step
    grid.fit(trial, 0, row, matrix.name, ratio)
    grid.encode(trial, 0, row)
    grid.decode(decoded, trial, 0)
    const error = squaredDistance(row, decoded)
    if (error < least) {
      least = error
      best = ratio
    }
  }
  return best
}

function squaredDistance(a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2
  return sum
}
