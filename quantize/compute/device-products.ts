import type { Target } from '../../codegen/target.ts'
import { CHOLESKY_BLOCK, choleskyPanel } from '../../kernels/linalg/cholesky-panel.ts'
import { putDiagonal, scaleRows, takeDiagonal } from '../../kernels/linalg/elements.ts'
import { type ProductConfig, productGrid } from '../../kernels/linalg/operands.ts'
import { product } from '../../kernels/linalg/product.ts'
import { splitProduct } from '../../kernels/linalg/split-product.ts'
import { clearLower, mirrorUpper } from '../../kernels/linalg/transpose.ts'
import { NotPositiveDefinite } from './compute.ts'
import type { Launches } from './device-launches.ts'
import type { DeviceMat, MatrixMemory } from './device-memory.ts'
import { gramRounded, multiplySplit, suitsTensorCores } from './device-tensor-cores.ts'

/** Products of matrices on a device, and what is made of them. */

/** Where work goes and what it may take. */
export interface DeviceWork {
  readonly target: Target
  readonly launches: Launches
  readonly memory: MatrixMemory
}

/** A part of a matrix, from a row and column on. */
export interface Part {
  readonly of: DeviceMat
  readonly row: number
  readonly column: number
}

export const whole = (of: DeviceMat): Part => ({ of, row: 0, column: 0 })

/** dst = alpha · op(a) · op(b) (+ dst), M × N with K terms each. */
export interface ProductShape extends Partial<Omit<ProductConfig, 'vec'>> {
  readonly M: number
  readonly N: number
  readonly K: number
  readonly alpha?: number
  /** By multiplications of f32; by tensor cores otherwise, as exact as 17 bits of each term. */
  readonly exact?: boolean
}

/** dst = op(a)·op(b) (+ dst) of whole matrices; `coarse` may round the operands to bf16. */
export async function multiply(
  work: DeviceWork,
  dst: DeviceMat,
  a: DeviceMat,
  b: DeviceMat,
  { coarse = false, ...shape }: ProductShape & { readonly coarse?: boolean },
): Promise<void> {
  const { M, N, K, transposeA = false, transposeB = false, add = false } = shape
  if (!suitsTensorCores(work, M, N, K)) return multiplyParts(work, whole(dst), whole(a), whole(b), shape)
  const along = { alongA: !transposeA, alongB: transposeB }
  await multiplySplit(work, dst, a, b, { M, N, K, ...along, terms: coarse ? 1 : 3, add })
}

export async function multiplyParts(
  { launches }: DeviceWork,
  dst: Part,
  a: Part,
  b: Part,
  shape: ProductShape,
): Promise<void> {
  const { M, N, K, alpha = 1, transposeA = false, transposeB = false, add = false } = shape
  const neighbours = [transposeA ? M : K, transposeB ? K : N, N]
  const vec = [dst, a, b].every(isAligned) && neighbours.every((extent) => extent % 4 === 0) ? 4 : 1
  const { part = 'all', triangular = false, exact = false } = shape
  const config: ProductConfig = { transposeA, transposeB, vec, add, part, triangular }
  const args = {
    a: a.of.tensor,
    b: b.of.tensor,
    c: dst.of.tensor,
    rowA: a.row,
    columnA: a.column,
    rowB: b.row,
    columnB: b.column,
    rowC: dst.row,
    columnC: dst.column,
    M,
    N,
    K,
    alpha,
  }
  await launches.run(exact ? product : splitProduct, config, args, productGrid(M, N))
}

/** Whether every row of a part starts at a multiple of 16 bytes. */
const isAligned = ({ of, column }: Part): boolean =>
  of.tensor.address % 16 === 0 && of.columns % 4 === 0 && column % 4 === 0

/** dst += xᵀ·diag(w)·x: above the diagonal, and then mirrored. */
export async function gram(
  work: DeviceWork,
  dst: DeviceMat,
  x: DeviceMat,
  rowWeights?: DeviceMat,
): Promise<void> {
  const weighted = rowWeights ? work.memory.matrix(x.rows, x.columns) : x
  if (rowWeights)
    await work.launches.run(scaleRows, {}, { dst: weighted.tensor, src: x.tensor, s: rowWeights.flat })
  const K = x.columns
  if (suitsTensorCores(work, K, K, x.rows)) {
    await gramRounded(work, dst, weighted, x)
    if (rowWeights) weighted.free()
    return
  }
  const shape = { M: K, N: K, K: x.rows, transposeA: true, add: true, part: 'upper' } as const
  await multiplyParts(work, whole(dst), whole(weighted), whole(x), shape)
  await work.launches.run(mirrorUpper, {}, { m: dst.tensor })
  if (rowWeights) weighted.free()
}

/**
 * The upper triangular U with (h + damping·mean(diag h)·I)⁻¹ = Uᵀ·U. In blocks of 128 columns from the last one on, h becomes
 * R·Rᵀ with R upper triangular; then, from the first block on, R becomes U = R⁻¹.
 */
export async function inverseCholesky(work: DeviceWork, h: DeviceMat, damping: number): Promise<DeviceMat> {
  const { launches, memory } = work
  const K = h.rows
  const u = memory.matrix(K, K)
  u.tensor.copyFrom(h.tensor)
  const [failed, freeFailed] = memory.take('i32', [1])
  const panel = memory.matrix(K, CHOLESKY_BLOCK)
  try {
    await dampDiagonal(work, u, damping)
    failed.fill(0)
    const starts = Array.from({ length: Math.ceil(K / CHOLESKY_BLOCK) }, (_, i) => i * CHOLESKY_BLOCK)
    for (const first of starts.toReversed()) {
      const n = Math.min(CHOLESKY_BLOCK, K - first)
      await launches.run(choleskyPanel, {}, { h: u.tensor, first, n, failed })
      if (first === 0) break
      const above = { of: u, row: 0, column: first }
      const inverse = { of: u, row: first, column: first }
      // One tile of columns: a CTA reads the rows that it writes, and nobody else does.
      await multiplyParts(work, above, above, inverse, {
        M: first,
        N: n,
        K: n,
        transposeB: true,
        exact: true,
      })
      const trailing = { transposeB: true, alpha: -1, add: true, part: 'upper', exact: true } as const
      await multiplyParts(work, whole(u), above, above, { M: first, N: first, K: n, ...trailing })
    }
    const column = ((await failed.read()) as Int32Array)[0]! - 1
    if (column >= 0)
      throw new NotPositiveDefinite(`the Hessian is not positive definite at column ${column} of ${K}`)
    for (const first of starts.slice(1)) {
      const n = Math.min(CHOLESKY_BLOCK, K - first)
      const above = { of: u, row: 0, column: first }
      const inverse = { of: u, row: first, column: first }
      await multiplyParts(work, whole(panel), above, inverse, { M: first, N: n, K: n, exact: true })
      const rest = { M: first, N: n, K: first, alpha: -1, triangular: true, exact: true }
      await multiplyParts(work, above, whole(u), whole(panel), rest)
    }
    await launches.run(clearLower, {}, { m: u.tensor })
    return u
  } catch (error) {
    u.free()
    throw error
  } finally {
    panel.free()
    freeFailed()
  }
}

/** Diagonal elements of 0 become 1, and then all grow by `damping` times their mean. */
async function dampDiagonal(work: DeviceWork, m: DeviceMat, damping: number): Promise<void> {
  const values = await diagonalOf(work, m)
  for (let i = 0; i < values.length; i++) if (values[i] === 0) values[i] = 1
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const [diagonal, free] = work.memory.take('f32', [m.rows])
  diagonal.write(values.map((value) => value + damping * mean))
  await work.launches.run(putDiagonal, {}, { m: m.tensor, diagonal })
  free()
}

export async function diagonalOf({ launches, memory }: DeviceWork, m: DeviceMat): Promise<Float32Array> {
  const [diagonal, free] = memory.take('f32', [m.rows])
  await launches.run(takeDiagonal, {}, { m: m.tensor, diagonal })
  const values = (await diagonal.read()) as Float32Array
  free()
  return values
}
