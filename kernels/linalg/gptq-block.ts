import {
  barrier,
  blockIdx,
  each,
  f32,
  fma,
  type In,
  type InOut,
  type i32,
  idiv,
  kernel,
  laneIdx,
  load,
  type Out,
  range,
  shared,
  shuffle,
  threadIdx,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import type { Dims } from '../../dsl/kernel.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { codeOf, type GridConfig, weightOf } from './grid.ts'

/** Columns of a block: four of each lane of a warp. */
export const GPTQ_BLOCK = 128

const THREADS = 256
const WARPS = THREADS / 32
const PER_LANE = GPTQ_BLOCK / 32
/** Rows of a CTA, which all need the same part of U. */
const ROWS = 2 * WARPS

export interface GptqConfig extends GridConfig {
  /** Whether `order` says which column of the grid is whose. */
  readonly order: boolean
}

/**
 * GPTQ within a block of up to 128 columns from `first` on: column by column, weights are snapped to the grid, and each error,
 * divided by U's diagonal element, is taken off the later columns of the block in proportion to U's row. `errors` [N, 128] are
 * the divided errors, which the columns behind the block have still to bear (zeros past the last column).
 *
 * A warp takes a row, lane l the columns 4·l to 4·l + 3 of the block. U has zeros below its diagonal, so that what is snapped
 * stays as it is.
 */
export const gptqBlock = kernel(
  import.meta.url,
  { grid: (d: Dims) => [ceilDiv(d.N!, ROWS)], block: [THREADS] },
  function gptqBlock(
    a: {
      w: InOut<f32, 'N K'>
      u: In<f32, 'K K'>
      params: In<f32, 'N U 2'>
      scale: In<f32, 'N'>
      order?: In<i32, 'K'>
      errors: Out<f32, 'N 128'>
      first: i32
    },
    c: GptqConfig,
  ) {
    const K = a.w.dim('K')
    const columns = Math.min(K - a.first, GPTQ_BLOCK)
    const u = shared<f32>('f32', [GPTQ_BLOCK, GPTQ_BLOCK])
    for (const i of range(threadIdx.x, GPTQ_BLOCK * GPTQ_BLOCK, THREADS)) {
      const [row, column] = [idiv(i, GPTQ_BLOCK), i % GPTQ_BLOCK]
      let value: f32 = 0
      if (row < columns && column < columns) value = a.u.at(a.first + row, a.first + column)
      u.put(value, row, column)
    }
    barrier()
    const inUnit = idiv(K, a.params.dim('U'))
    const own = laneIdx * PER_LANE
    for (const turn of range(ROWS / WARPS)) {
      const row = blockIdx.x * ROWS + turn * WARPS + warpIdx
      if (row < a.w.dim('N')) {
        const scale = a.scale.at(row)
        const w = each(PER_LANE, () => f32(0))
        const errors = each(PER_LANE, () => f32(0))
        for (const i of unroll(PER_LANE)) if (own + i < columns) w[i] = a.w.at(row, a.first + own + i)
        for (const lane of range(idiv(columns + PER_LANE - 1, PER_LANE))) {
          for (const i of unroll(PER_LANE)) {
            const j = lane * PER_LANE + i
            const at = Math.min(a.first + j, K - 1)
            const unit = idiv(a.order ? a.order.at(at) : at, inUnit)
            const params: [f32, f32] = [a.params.at(row, unit, 0), a.params.at(row, unit, 1)]
            const value = shuffle(w[i]!, lane)
            const snapped = weightOf(codeOf(value, params, scale, c.kind), params, scale, c.kind)
            // Past the end U is 0, and nothing counts.
            const error = j < columns ? (value - snapped) / u.at(j, j) : f32(0)
            const later = load(u, [j, own], PER_LANE)
            for (const e of unroll(PER_LANE)) w[e] = fma(-error, later[e]!, w[e]!)
            const isOwn = lane === laneIdx
            w[i] = isOwn ? snapped : w[i]!
            errors[i] = isOwn ? error : errors[i]!
          }
        }
        for (const i of unroll(PER_LANE)) {
          if (own + i < columns) a.w.put(w[i]!, row, a.first + own + i)
          a.errors.put(errors[i]!, row, own + i)
        }
      }
    }
  },
)
