import {
  atomicMin,
  blockIdx,
  type Elem,
  f16,
  f32,
  fma,
  type In,
  type InOut,
  i32,
  idiv,
  kernel,
  laneIdx,
  type Out,
  range,
  round,
  threadIdx,
  to,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import type { Dims } from '../../dsl/kernel.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { warpMax, warpMin } from '../../dsl/std/index.ts'

/**
 * The grids of round-to-nearest (`quantize/round-to-nearest.ts`) on the device, bit for bit.
 *
 *   symmetric    value = scale · code                        −127 ≤ code ≤ 127
 *   asymmetric   value = scale · (code − zero)               0 ≤ code ≤ 15
 *   two-level    value = scale · (code · step + minimum)     0 ≤ code ≤ 15
 *
 * A *unit* is what shares the pair (scale, zero), or (minimum, step) of two-level grids: a group, or the whole row. All are
 * floats here; two-level grids have a scale for each row beside.
 */
export type GridKind = 'symmetric' | 'asymmetric' | 'two-level'

export interface GridConfig {
  readonly kind: GridKind
  /** Minima of two-level grids are −zero · step, zero from 0 to 15, of ranges that include 0. */
  readonly zeros?: 'integer'
}

/** The largest magnitude of codes of a row's scale. */
export const bounds: Readonly<Record<GridKind, number>> = { symmetric: 127, asymmetric: 15, 'two-level': 119 }

const THREADS = 256
const WARPS = THREADS / 32

/** Minimum and maximum of each unit of a row. A warp takes a unit. */
export const unitRanges = kernel(
  import.meta.url,
  { grid: (d: Dims) => [d.N!, ceilDiv(d.U!, WARPS)], block: [THREADS] },
  function unitRanges(a: { w: In<f32, 'N K'>; ranges: Out<f32, 'N U 2'> }) {
    const row = blockIdx.x
    const unit = blockIdx.y * WARPS + warpIdx
    const units = a.ranges.dim('U')
    if (unit >= units) return
    const columns = idiv(a.w.dim('K'), units)
    let low: f32 = -f32.lowest
    let high: f32 = f32.lowest
    for (const i of range(laneIdx, columns, 32)) {
      const value = a.w.at(row, unit * columns + i)
      low = Math.min(low, value)
      high = Math.max(high, value)
    }
    const [min, max] = [warpMin(low), warpMax(high)]
    if (laneIdx === 0) {
      a.ranges.put(min, row, unit, 0)
      a.ranges.put(max, row, unit, 1)
    }
  },
)

export interface FitConfig extends GridConfig {
  /** Whether ranges are clamped by ratios, and whether a ratio is that of a unit or of the whole row. */
  readonly ratios: boolean
  readonly each: 'unit' | 'row'
}

/**
 * Scales and the like from the ranges of units, clamped to ratios times the range: of a unit, or of the row. A thread takes
 * a row. `bad[0]` becomes the first row that needs a scale beyond f16, where there is one.
 */
export const fitUnits = kernel(
  import.meta.url,
  { grid: (d: Dims) => [ceilDiv(d.N!, THREADS)], block: [THREADS] },
  function fitUnits(
    a: {
      ranges: In<f32, 'N U 2'>
      ratios?: In<f32, 'N P'>
      params: Out<f32, 'N U 2'>
      scale: Out<f32, 'N'>
      bad: InOut<i32, '1'>
    },
    c: FitConfig,
  ) {
    const row = blockIdx.x * THREADS + threadIdx.x
    if (row >= a.ranges.dim('N')) return
    const units = a.ranges.dim('U')
    let low: f32 = 0
    let high: f32 = 0
    if (a.ratios && c.each === 'row') {
      for (const unit of range(units)) {
        low = Math.min(low, a.ranges.at(row, unit, 0))
        high = Math.max(high, a.ranges.at(row, unit, 1))
      }
      const ofRow = clampBounds({ low, high }, a.ratios.at(row, 0), c.kind !== 'asymmetric')
      low = ofRow.low
      high = ofRow.high
    }
    /** The range of a unit's clamped values. */
    const clampedRange = (unit: i32): Range => {
      const raw = { low: a.ranges.at(row, unit, 0), high: a.ranges.at(row, unit, 1) }
      if (!a.ratios) return raw
      const limits =
        c.each === 'row' ? { low, high } : clampBounds(raw, a.ratios.at(row, unit), c.kind === 'symmetric')
      return {
        low: Math.min(Math.max(raw.low, limits.low), limits.high),
        high: Math.min(Math.max(raw.high, limits.low), limits.high),
      }
    }
    let largest: f32 = 0
    if (c.kind === 'two-level') {
      for (const unit of range(units)) {
        const own = clampedRange(unit)
        largest = Math.max(largest, Math.max(-own.low, own.high))
      }
    }
    const ofRow = rowScale(largest, f32(0), c.kind)
    let fits: i32 = c.kind === 'two-level' ? i32(ofRow < INFINITY) : i32(1)
    a.scale.put(ofRow, row)
    for (const unit of range(units)) {
      const [first, second] = unitParams(clampedRange(unit), ofRow, c)
      if (c.kind !== 'two-level') fits = first < INFINITY ? fits : 0
      a.params.put(first, row, unit, 0)
      a.params.put(second, row, unit, 1)
    }
    if (fits === 0) atomicMin(a.bad, [0], row)
  },
)

/** The largest finite float and more. */
const INFINITY = 3.4028234663852886e38

export interface Range {
  readonly low: f32
  readonly high: f32
}

/** Device: what weights of that range are clamped to: `ratio` times the range, which includes 0, or is symmetric. */
export function clampBounds({ low, high }: Range, ratio: f32, symmetric: boolean): Range {
  if (!symmetric) return { low: Math.min(low, 0) * ratio, high: Math.max(high, 0) * ratio }
  const bound = Math.max(Math.max(-low, high), 0) * ratio
  return { low: -bound, high: bound }
}

/** Device: the f16 scale, widened, of a magnitude of `high` + `low`; 0 becomes 1, and what f16 cannot hold infinity. */
function rowScale(high: f32, low: f32, kind: GridKind): f32 {
  const scale = f32(f16(dividedToOdd(high, low, bounds[kind])))
  return scale === 0 ? f32(1) : scale
}

/**
 * Device: (high + low) / divisor rounded so that rounding it to f16 rounds the exact quotient: to the neighbour whose last
 * bit is odd, unless it is exact.
 */
function dividedToOdd(high: f32, low: f32, divisor: number): f32 {
  const quotient = high / divisor
  const rest = fma(-quotient, f32(divisor), high) + low
  const bits = u32.bits(quotient)
  const isOdd = (bits & 1) === 1
  const odd = rest === 0 || isOdd ? bits : rest > 0 ? bits + 1 : bits - 1
  return f32.bits(odd)
}

/** Device: (scale, zero) of a unit of clamped weights of that range, or (minimum, step) under the scale of its row. */
export function unitParams(own: Range, scaleOfRow: f32, { kind, zeros }: GridConfig): [f32, f32] {
  if (kind === 'symmetric') return [rowScale(Math.max(Math.max(-own.low, own.high), 0), f32(0), kind), f32(0)]
  if (kind === 'asymmetric') {
    const [low, high] = [Math.min(own.low, 0), Math.max(own.high, 0)]
    // high − low and what that leaves out.
    const sum = high - low
    const back = sum - high
    const rest = high - (sum - back) + (-low - back)
    const scale = rowScale(sum, rest, kind)
    return [scale, Math.min(Math.max(round(-low / scale), 0), 15)]
  }
  const level1 = (w: f32): f32 => level1Code(w, scaleOfRow)
  const min = zeros ? Math.min(level1(own.low), 0) : level1(own.low)
  const max = zeros ? Math.max(level1(own.high), 0) : level1(own.high)
  const step = Math.max(round((max - min) / 15), 1)
  return [zeros ? -step * Math.min(Math.max(round(-min / step), 0), 15) : min, step]
}

const level1Code = (w: f32, scale: f32): f32 => {
  const bound = bounds['two-level']
  return Math.min(Math.max(round(w / scale), -bound), bound)
}

/** Device: the code of a weight, as a float. `scale` is the row's of two-level grids. */
export function codeOf(w: f32, [first, second]: readonly [f32, f32], scale: f32, kind: GridKind): f32 {
  if (kind === 'symmetric') return Math.min(Math.max(round(w / first), -127), 127)
  if (kind === 'asymmetric') return Math.min(Math.max(round(w / first) + second, 0), 15)
  return Math.min(Math.max(round((level1Code(w, scale) - first) / second), 0), 15)
}

/** Device: the weight that a code stands for. */
export function weightOf(code: f32, [first, second]: readonly [f32, f32], scale: f32, kind: GridKind): f32 {
  if (kind === 'symmetric') return first * code
  if (kind === 'asymmetric') return first * (code - second)
  return scale * (code * second + first)
}

const TURNS = 4
const elementOptions = {
  grid: (d: Dims) => [d.N!, ceilDiv(d.K!, THREADS * TURNS)] as const,
  block: [THREADS] as const,
}

/** dst = the nearest weights that the grid has. */
export const snapWeights = kernel(
  import.meta.url,
  elementOptions,
  function snapWeights(
    a: { dst: Out<f32, 'N K'>; w: In<f32, 'N K'>; params: In<f32, 'N U 2'>; scale: In<f32, 'N'> },
    c: GridConfig,
  ) {
    eachCode(a, c.kind, (code, params, scale, column) => {
      a.dst.put(weightOf(code, params, scale, c.kind), blockIdx.x, column)
    })
  },
)

export interface EncodeConfig extends GridConfig {
  /** The type of codes: i8 where they have signs. */
  readonly dtype: 'i8' | 'u8'
}

/** The codes of weights. */
export const encodeWeights = kernel(
  import.meta.url,
  elementOptions,
  function encodeWeights(
    a: { codes: Out<Elem<'dtype'>, 'N K'>; w: In<f32, 'N K'>; params: In<f32, 'N U 2'>; scale: In<f32, 'N'> },
    c: EncodeConfig,
  ) {
    eachCode(a, c.kind, (code, _params, _scale, column) => {
      a.codes.put(to(c.dtype, i32(code)), blockIdx.x, column)
    })
  },
)

/** Device: calls `visit` with the code of each of the calling thread's weights, and what it is multiplied with. */
function eachCode(
  a: { w: In<f32, 'N K'>; params: In<f32, 'N U 2'>; scale: In<f32, 'N'> },
  kind: GridKind,
  visit: (code: f32, params: [f32, f32], scale: f32, column: i32) => void,
): void {
  const row = blockIdx.x
  const columns = idiv(a.w.dim('K'), a.params.dim('U'))
  const scale = a.scale.at(row)
  for (const turn of unroll(TURNS)) {
    const column = blockIdx.y * (THREADS * TURNS) + turn * THREADS + threadIdx.x
    if (column < a.w.dim('K')) {
      const unit = idiv(column, columns)
      const params: [f32, f32] = [a.params.at(row, unit, 0), a.params.at(row, unit, 1)]
      visit(codeOf(a.w.at(row, column), params, scale, kind), params, scale, column)
    }
  }
}
