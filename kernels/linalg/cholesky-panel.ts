import {
  atomicMax,
  barrier,
  each,
  f32,
  fma,
  type InOut,
  type i32,
  kernel,
  range,
  regs,
  shared,
  sqrt,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'

/** Columns of a block. */
export const CHOLESKY_BLOCK = 128

const SIDE = 16
const PER_THREAD = CHOLESKY_BLOCK / SIDE

/**
 * The diagonal block H of a symmetric matrix as R·Rᵀ with R upper triangular, from its last column on; R⁻¹ takes the place of
 * H, zeros below its diagonal. H begins at row and column `first` and has `n` of them, up to 128; what lies above its diagonal
 * is read.
 *
 * `failed[0]` becomes the largest column whose pivot is not positive and finite, plus 1, if that is more than what is there;
 * the pivot counts as 1 then. One CTA: elements are in registers, of a thread every 16th row and column, and each column
 * travels through shared memory. With column k of R at hand, column k leaves H and row k of R⁻¹ the rows above it.
 */
export const choleskyPanel = kernel(
  import.meta.url,
  { grid: () => [1], block: [SIDE, SIDE] },
  function choleskyPanel(a: { h: InOut<f32, 'K K'>; first: i32; n: i32; failed: InOut<i32, '1'> }) {
    const column = threadIdx.x
    const row = threadIdx.y
    // In turns, so that one barrier a step is enough.
    const columns = shared<f32>('f32', [2, CHOLESKY_BLOCK])
    const rows = shared<f32>('f32', [2, CHOLESKY_BLOCK])
    const h = each(PER_THREAD, () => regs(PER_THREAD, f32(0)))
    const inverse = each(PER_THREAD, () => regs(PER_THREAD, f32(0)))
    for (const p of unroll(PER_THREAD)) {
      for (const q of unroll(PER_THREAD)) {
        const [i, j] = [p * SIDE + row, q * SIDE + column]
        const unit: f32 = i === j ? f32(1) : f32(0)
        inverse[p]![q] = unit
        // Past the end the block is that of the identity.
        h[p]![q] = unit
        if (i < a.n && j < a.n) h[p]![q] = a.h.at(a.first + Math.min(i, j), a.first + Math.max(i, j))
      }
    }

    for (const block of unroll(PER_THREAD)) {
      const q = PER_THREAD - 1 - block
      for (const step of range(SIDE)) {
        const own = SIDE - 1 - step
        const k = q * SIDE + own
        const turn = step & 1
        if (column === own) for (const p of unroll(q + 1)) columns.put(h[p]![q]!, turn, p * SIDE + row)
        if (row === own)
          for (const p of unroll(q, PER_THREAD)) rows.put(inverse[q]![p]!, turn, p * SIDE + column)
        barrier()
        const pivot = columns.at(turn, k)
        const isGood = pivot > 0 && pivot < INFINITY
        if (!isGood && column === 0 && row === 0) atomicMax(a.failed, [0], a.first + k + 1)
        const factor = 1 / sqrt(isGood ? pivot : f32(1))
        // Rows from k on have nothing to give to those above.
        const above = each(q + 1, (p) => {
          const value = columns.at(turn, p * SIDE + row) * factor
          return p < q || row < own ? value : f32(0)
        })
        const left = each(q + 1, (p) => {
          const value = columns.at(turn, p * SIDE + column) * factor
          return p < q || column < own ? value : f32(0)
        })
        const right = each(PER_THREAD - q, (p) => rows.at(turn, (q + p) * SIDE + column) * factor)
        for (const p of unroll(q + 1)) {
          for (const j of unroll(q + 1)) h[p]![j] = fma(-above[p]!, left[j]!, h[p]![j]!)
          for (const j of unroll(PER_THREAD - q))
            inverse[p]![q + j] = fma(-above[p]!, right[j]!, inverse[p]![q + j]!)
        }
        if (row === own) for (const j of unroll(PER_THREAD - q)) inverse[q]![q + j] = right[j]!
      }
    }

    for (const p of unroll(PER_THREAD)) {
      for (const q of unroll(PER_THREAD)) {
        const [i, j] = [p * SIDE + row, q * SIDE + column]
        if (i < a.n && j < a.n) a.h.put(inverse[p]![q]!, a.first + i, a.first + j)
      }
    }
  },
)

/** More than every finite float. */
const INFINITY = 3.4028234663852886e38
