import type { Compute, Mat } from '../compute/compute.ts'
import { hadamardMatrix, isPowerOfTwo } from '../hadamard.ts'

/**
 * m·diag(signs)·H in place, H being the normalised Hadamard matrix of order `block`, on each run of `block` columns;
 * signs [1, columns] of ±1. Throws `QuantizeError` for orders without such a matrix.
 */
export async function timesHadamard(compute: Compute, m: Mat, block: number, signs?: Mat): Promise<void> {
  if (isPowerOfTwo(block)) return compute.hadamard(m, block, signs)
  if (signs) await compute.scaleColumns(m, signs)
  const runs = compute.reshape(m, (m.rows * m.columns) / block, block)
  const product = compute.allocate(runs.rows, block)
  await compute.multiply(product, runs, storedMatrix(compute, block))
  await compute.copy(runs, product)
  product.free()
}

/** Hᵀ·diag(signs)·m in place, on each run of `block` rows; signs [1, rows]. */
export async function hadamardTimes(compute: Compute, m: Mat, block: number, signs?: Mat): Promise<void> {
  const transposed = compute.allocate(m.columns, m.rows)
  await compute.transpose(transposed, m)
  await timesHadamard(compute, transposed, block, signs)
  await compute.transpose(m, transposed)
  transposed.free()
}

const stored = new WeakMap<Compute, Map<number, Mat>>()

/** Orders that are no powers of two are products with the whole matrix, uploaded once. */
function storedMatrix(compute: Compute, order: number): Mat {
  const known = stored.get(compute) ?? new Map<number, Mat>()
  stored.set(compute, known)
  const found = known.get(order) ?? compute.from(hadamardMatrix(order), order, order)
  known.set(order, found)
  return found
}
