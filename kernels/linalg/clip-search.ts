import {
  barrier,
  blockIdx,
  each,
  f32,
  fma,
  type In,
  type InOut,
  idiv,
  kernel,
  load,
  type Out,
  range,
  regs,
  shared,
  store,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import type { Dims } from '../../dsl/kernel.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { warpMax, warpMin, warpSum } from '../../dsl/std/index.ts'
import { clampBounds, codeOf, type GridConfig, unitParams, weightOf } from './grid.ts'

const THREADS = 256
/** Rows of a CTA. */
const ROWS = 64
/** Threads that make a row's errors, and threads that share a row's product. */
const MAKERS = THREADS / ROWS
const LANES = 16
const PER_LANE = ROWS / LANES

export interface ClipSearchConfig extends GridConfig {
  /** Columns of a group: 32, 64 or 128. */
  readonly group: number
}

/**
 * For each row and group, the ratio with the least Δ·G·Δᵀ: Δ is what the group's weights lose when their grid covers `ratio`
 * times their range, and G the group's diagonal block of `gram`. The first of equals. A CTA takes a group of 64 rows and goes
 * through the ratios, each of them a product of 64 × group × group.
 *
 * `scale` is the rows', of two-level grids.
 */
export const searchGroupClip = kernel(
  import.meta.url,
  { grid: (d: Dims) => [ceilDiv(d.N!, ROWS), d.U!], block: [THREADS] },
  function searchGroupClip(
    a: {
      w: In<f32, 'N K'>
      gram: In<f32, 'K K'>
      scale: In<f32, 'N'>
      ratios: In<f32, 'R'>
      best: Out<f32, 'N U'>
    },
    c: ClipSearchConfig,
  ) {
    const { group } = c
    const pitch = group + 4
    const gram = shared<f32>('f32', [group, group])
    const weights = shared<f32>('f32', [ROWS, pitch])
    const errors = shared<f32>('f32', [ROWS, pitch])
    const rows = a.w.dim('N')
    const row0 = blockIdx.x * ROWS
    const column0 = blockIdx.y * group
    for (const i of range(threadIdx.x, (group * group) / 4, THREADS)) {
      const [row, column] = [idiv(i, group / 4), (i % (group / 4)) * 4]
      store(gram, [row, column], load(a.gram, [column0 + row, column0 + column], 4))
    }
    for (const i of range(threadIdx.x, (ROWS * group) / 4, THREADS)) {
      const [row, column] = [idiv(i, group / 4), (i % (group / 4)) * 4]
      // Rows past the end are as the last one, and not stored.
      store(weights, [row, column], load(a.w, [Math.min(row0 + row, rows - 1), column0 + column], 4))
    }
    barrier()

    const made = idiv(threadIdx.x, MAKERS)
    const part = threadIdx.x % MAKERS
    const scale = a.scale.at(Math.min(row0 + made, rows - 1))
    let low: f32 = -f32.lowest
    let high: f32 = f32.lowest
    for (const k of range(part, group, MAKERS)) {
      low = Math.min(low, weights.at(made, k))
      high = Math.max(high, weights.at(made, k))
    }
    const whole = { low: warpMin(low, MAKERS), high: warpMax(high, MAKERS) }

    const lane = threadIdx.x & (LANES - 1)
    const own = threadIdx.x >> 4
    const vec = Math.min(group / LANES, 4)
    const runs = group / (LANES * vec)
    const least = regs(PER_LANE, -f32.lowest)
    const best = regs(PER_LANE, f32(1))
    for (const r of range(a.ratios.dim('R'))) {
      const ratio = a.ratios.at(r)
      const limits = clampBounds(whole, ratio, c.kind === 'symmetric')
      const clamped = {
        low: Math.min(Math.max(whole.low, limits.low), limits.high),
        high: Math.min(Math.max(whole.high, limits.low), limits.high),
      }
      const params = unitParams(clamped, scale, c)
      for (const k of range(part, group, MAKERS)) {
        const w = weights.at(made, k)
        errors.put(w - weightOf(codeOf(w, params, scale, c.kind), params, scale, c.kind), made, k)
      }
      barrier()
      const acc = each(PER_LANE, () => regs(runs * vec, f32(0)))
      for (const k of range(0, group, 4)) {
        const x = each(PER_LANE, (i) => load(errors, [own + LANES * i, k], 4))
        for (const j of unroll(4)) {
          const y = each(runs, (run) => load(gram, [k + j, (run * LANES + lane) * vec], vec)).flat()
          for (const i of unroll(PER_LANE))
            for (const e of unroll(runs * vec)) acc[i]![e] = fma(x[i]![j]!, y[e]!, acc[i]![e]!)
        }
      }
      for (const i of unroll(PER_LANE)) {
        const delta = each(runs, (run) =>
          load(errors, [own + LANES * i, (run * LANES + lane) * vec], vec),
        ).flat()
        const loss = warpSum(
          delta.reduce((sum: f32, d, e) => fma(d, acc[i]![e]!, sum), f32(0)),
          LANES,
        )
        const isLess = loss < least[i]!
        least[i] = isLess ? loss : least[i]!
        best[i] = isLess ? ratio : best[i]!
      }
      barrier()
    }
    for (const i of unroll(PER_LANE)) {
      const row = row0 + own + LANES * i
      if (lane === 0 && row < rows) a.best.put(best[i]!, row, blockIdx.y)
    }
  },
)

/** Takes over `ratio` for the rows whose loss is less than the least so far. */
export const keepLess = kernel(
  import.meta.url,
  { grid: (d: Dims) => [ceilDiv(d.N!, THREADS)], block: [THREADS] },
  function keepLess(a: { loss: In<f32, 'N'>; least: InOut<f32, 'N'>; best: InOut<f32, 'N'>; ratio: f32 }) {
    const row = blockIdx.x * THREADS + threadIdx.x
    if (row < a.loss.dim('N') && a.loss.at(row) < a.least.at(row)) {
      a.least.put(a.loss.at(row), row)
      a.best.put(a.ratio, row)
    }
  },
)
