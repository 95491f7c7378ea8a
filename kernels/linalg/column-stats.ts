import {
  barrier,
  blockIdx,
  f32,
  type In,
  kernel,
  type Out,
  range,
  shared,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'

const COLUMNS = 32
const LANES = 8
const THREADS = 256

/** Rows that a CTA sums up. */
export const STATS_ROWS = 512

/** What is known of a column, in the order of the parts: minimum, maximum, sum, sum of magnitudes. */
export const STATS_PARTS = 4

/** Of every 512 rows, the parts of each column. */
export const columnParts = kernel(
  import.meta.url,
  { grid: (d) => [ceilDiv(d.C!, COLUMNS), d.P!], block: [COLUMNS, LANES] },
  function columnParts(a: { m: In<f32, 'T C'>; parts: Out<f32, 'P 4 C'> }) {
    const tile = shared<f32>('f32', [STATS_PARTS, LANES, COLUMNS])
    const columns = a.m.dim('C')
    const column = blockIdx.x * COLUMNS + threadIdx.x
    const first = blockIdx.y * STATS_ROWS
    let low: f32 = -f32.lowest
    let high: f32 = f32.lowest
    let sum: f32 = 0
    let magnitudes: f32 = 0
    if (column < columns) {
      for (const row of range(first + threadIdx.y, Math.min(first + STATS_ROWS, a.m.dim('T')), LANES)) {
        const value = a.m.at(row, column)
        low = Math.min(low, value)
        high = Math.max(high, value)
        sum += value
        magnitudes += Math.abs(value)
      }
    }
    for (const [part, value] of [low, high, sum, magnitudes].entries())
      tile.put(value, part, threadIdx.y, threadIdx.x)
    barrier()
    if (threadIdx.y === 0 && column < columns) {
      for (const part of unroll(STATS_PARTS)) {
        let total: f32 = tile.at(part, 0, threadIdx.x)
        for (const lane of unroll(1, LANES)) total = joined(part, total, tile.at(part, lane, threadIdx.x))
        a.parts.put(total, blockIdx.y, part, column)
      }
    }
  },
)

/** The parts of all rows from those of every 512. */
export const joinParts = kernel(
  import.meta.url,
  { grid: (d) => [ceilDiv(d.C!, THREADS)], block: [THREADS] },
  function joinParts(a: { parts: In<f32, 'P 4 C'>; out: Out<f32, '4 C'> }) {
    const column = blockIdx.x * THREADS + threadIdx.x
    if (column >= a.parts.dim('C')) return
    for (const part of unroll(STATS_PARTS)) {
      let total: f32 = a.parts.at(0, part, column)
      for (const p of range(1, a.parts.dim('P'))) total = joined(part, total, a.parts.at(p, part, column))
      a.out.put(total, part, column)
    }
  },
)

const joined = (part: number, x: f32, y: f32): f32 =>
  part === 0 ? Math.min(x, y) : part === 1 ? Math.max(x, y) : x + y
