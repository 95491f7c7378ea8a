import {
  blockIdx,
  f16,
  f32,
  fma,
  type In,
  type InOut,
  idiv,
  kernel,
  laneIdx,
  range,
  round,
  threadIdx,
  warpIdx,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { warpMax, warpMin } from '../../dsl/std/index.ts'
import { LARGEST, SMALLEST_SCALE } from '../formats/kv-affine.ts'

const THREADS = 256
const WARPS = 4

export interface RotaryConfig {
  /** Columns of a head. */
  readonly D: number
  /** Leading columns of a head that are rotated. */
  readonly R: number
}

/**
 * Rotates the heads of each row in place, Hugging Face's rotate-half; row t has the angles of row t mod L of `cosSin`, R/2
 * cosines and then their sines.
 */
export const rotateHeads = kernel(
  import.meta.url,
  { grid: (d) => [d.T!], block: [THREADS] },
  function rotateHeads(a: { m: InOut<f32, 'T C'>; cosSin: In<f32, 'L R'> }, c: RotaryConfig) {
    const row = blockIdx.x
    const position = row % a.cosSin.dim('L')
    const half = c.R / 2
    for (const pair of range(threadIdx.x, idiv(a.m.dim('C'), c.D) * half, THREADS)) {
      const angle = pair % half
      const column = idiv(pair, half) * c.D + angle
      const cos = a.cosSin.at(position, angle)
      const sin = a.cosSin.at(position, half + angle)
      const x = a.m.at(row, column)
      const y = a.m.at(row, column + half)
      a.m.put(x * cos - y * sin, row, column)
      a.m.put(y * cos + x * sin, row, column + half)
    }
  },
)

export interface FakeHeadsConfig {
  /** Columns of a head. */
  readonly D: number
  readonly bits: 4 | 8
}

/**
 * Each head of a row becomes what its codes in the key/value cache stand for (`kernels/formats/kv-affine.ts`, with its
 * roundings), its values clamped to `ratio` times their range first, which includes 0. A warp takes a head.
 */
export const fakeQuantizeHeads = kernel(
  import.meta.url,
  { grid: (d, c: FakeHeadsConfig) => [d.T!, ceilDiv(d.C! / c.D, WARPS)], block: [32 * WARPS] },
  function fakeQuantizeHeads(a: { m: InOut<f32, 'T C'>; ratio: f32 }, c: FakeHeadsConfig) {
    const row = blockIdx.x
    const first = (blockIdx.y * WARPS + warpIdx) * c.D
    if (first >= a.m.dim('C')) return
    let low: f32 = -f32.lowest
    let high: f32 = f32.lowest
    for (const i of range(laneIdx, c.D, 32)) {
      const value = a.m.at(row, first + i)
      low = Math.min(low, value)
      high = Math.max(high, value)
    }
    const [least, most] = [warpMin(low), warpMax(high)]
    const [floor, ceiling] = [Math.min(least, 0) * a.ratio, Math.max(most, 0) * a.ratio]
    const clamped = (value: f32): f32 => Math.min(Math.max(value, floor), ceiling)
    const levels = 2 ** c.bits - 1
    const min = Math.max(clamped(least), -LARGEST)
    const width = Math.min(clamped(most), LARGEST) - min
    const scale = f32(f16(Math.max(width * (1 / levels), SMALLEST_SCALE)))
    const offset = f32(f16(min))
    const perStep = 1 / scale
    for (const i of range(laneIdx, c.D, 32)) {
      const steps = (clamped(a.m.at(row, first + i)) - offset) * perStep
      a.m.put(fma(round(Math.min(Math.max(steps, 0), levels)), scale, offset), row, first + i)
    }
  },
)
