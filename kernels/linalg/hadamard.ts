import {
  barrier,
  blockIdx,
  type f32,
  type In,
  type InOut,
  kernel,
  range,
  shared,
  staticAssert,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'

const THREADS = 256

/** The longest transform whose values fit the shared memory of every GPU. */
export const LONGEST_HADAMARD = 16384

export interface HadamardConfig {
  /** The order of the transform, a power of two up to 16384. */
  readonly block: number
  /** Whether columns are multiplied by signs first. */
  readonly signs: boolean
}

/** Columns of a CTA: whole runs. */
const spanOf = ({ block }: HadamardConfig): number => Math.max(block, 1024)

/**
 * Each run of `block` columns becomes x·diag(signs)·H/√block, in place. Neighbours are joined first, then runs of two, and so
 * on, in shared memory.
 */
export const hadamardRows = kernel(
  import.meta.url,
  { grid: (d, c: HadamardConfig) => [d.T!, ceilDiv(d.C!, spanOf(c))], block: [THREADS] },
  function hadamardRows(a: { m: InOut<f32, 'T C'>; signs?: In<f32, 'C'> }, c: HadamardConfig) {
    staticAssert(
      Math.log2(c.block) % 1 === 0 && c.block <= LONGEST_HADAMARD,
      `a transform of ${c.block} columns: powers of two up to ${LONGEST_HADAMARD} are taken`,
    )
    const span = spanOf(c)
    const values = shared<f32>('f32', [span])
    const row = blockIdx.x
    const first = blockIdx.y * span
    const columns = Math.min(a.m.dim('C') - first, span)
    for (const i of range(threadIdx.x, columns, THREADS)) {
      const value = a.m.at(row, first + i)
      values.put(a.signs ? value * a.signs.at(first + i) : value, i)
    }
    barrier()
    for (const bit of unroll(Math.log2(c.block))) {
      const stride = 2 ** bit
      for (const pair of range(threadIdx.x, columns >> 1, THREADS)) {
        const low = ((pair >> bit) << (bit + 1)) + (pair & (stride - 1))
        const x = values.at(low)
        const y = values.at(low + stride)
        values.put(x + y, low)
        values.put(x - y, low + stride)
      }
      barrier()
    }
    const norm = 1 / Math.sqrt(c.block)
    for (const i of range(threadIdx.x, columns, THREADS)) a.m.put(values.at(i) * norm, row, first + i)
  },
)
