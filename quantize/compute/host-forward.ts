import { kvFormats } from '../../kernels/formats/kv.ts'
import { quantizeRowsReference } from '../../kernels/quantize-rows.ts'
import type { AttentionShape, Values } from './compute.ts'
import type { HostMat } from './host-mat.ts'

/** The operations of a layer's forward pass on the host; `Compute` says what they do. */

export function meanSquare(values: Values): number {
  let sum = 0
  for (const value of values) sum += value * value
  return sum / values.length
}

export function rmsNorm(dst: HostMat, x: HostMat, gain: HostMat | null, epsilon: number): void {
  const { columns } = x
  for (let r = 0; r < x.rows; r++) {
    const [from, to] = [x.row(r), dst.row(r)]
    const factor = 1 / Math.sqrt(meanSquare(from) + epsilon)
    for (let c = 0; c < columns; c++) to[c] = from[c]! * factor * (gain ? gain.values[c]! : 1)
  }
}

export function rotary(m: HostMat, headDim: number, cosSin: HostMat): void {
  const half = cosSin.columns / 2
  for (let t = 0; t < m.rows; t++) {
    const row = m.row(t)
    const angles = cosSin.row(t % cosSin.rows)
    for (let start = 0; start < m.columns; start += headDim)
      for (let i = 0; i < half; i++) {
        const [cos, sin] = [angles[i]!, angles[half + i]!]
        const [a, b] = [row[start + i]!, row[start + half + i]!]
        row[start + i] = a * cos - b * sin
        row[start + half + i] = b * cos + a * sin
      }
  }
}

export function attention(dst: HostMat, q: HostMat, k: HostMat, v: HostMat, shape: AttentionShape): void {
  const { heads, kvHeads, headDim: D, window, scale, sliding = window } = shape
  // Of a whole number of four keys: what lies behind the last one has no weight.
  const weights = new Float64Array(window + 3)
  const out = new Float64Array(D)
  for (let t = 0; t < q.rows; t++) {
    const first = Math.max(t - (t % window), t - sliding + 1)
    const count = t + 1 - first
    for (let head = 0; head < heads; head++) {
      const shared = Math.floor(head / (heads / kvHeads)) * D
      const query = q.values.subarray(t * q.columns + head * D, t * q.columns + (head + 1) * D)
      const most = scores(weights, query, k, { first, count, shared, scale })
      let total = 0
      for (let s = 0; s < count; s++) {
        weights[s] = Math.exp(weights[s]! - most)
        total += weights[s]!
      }
      weighted(out, weights, v, { first, count, shared })
      for (let d = 0; d < D; d++) dst.values[t * dst.columns + head * D + d] = out[d]! / total
    }
  }
}

/** The keys or values that a query sees: rows from `first` on, from column `shared` on. */
interface Seen {
  readonly first: number
  readonly count: number
  readonly shared: number
}

/** dst[s] = scale · query · key s; returns the largest. Four keys at once, whose sums do not wait for each other. */
function scores(
  dst: Float64Array,
  query: Values,
  { values, columns, rows }: HostMat,
  { first, count, shared, scale }: Seen & { readonly scale: number },
): number {
  const D = query.length
  let most = Number.NEGATIVE_INFINITY
  for (let s = 0; s < count; s += 4) {
    const at = (s0: number): number => Math.min(first + s0, rows - 1) * columns + shared
    const [a, b, c, e] = [at(s), at(s + 1), at(s + 2), at(s + 3)]
    let [s0, s1, s2, s3] = [0, 0, 0, 0]
    for (let d = 0; d < D; d++) {
      const x = query[d]!
      s0 += x * values[a + d]!
      s1 += x * values[b + d]!
      s2 += x * values[c + d]!
      s3 += x * values[e + d]!
    }
    dst[s] = s0 * scale
    dst[s + 1] = s1 * scale
    dst[s + 2] = s2 * scale
    dst[s + 3] = s3 * scale
    for (let i = s; i < Math.min(s + 4, count); i++) most = Math.max(most, dst[i]!)
  }
  return most
}

/** dst = Σ weights[s] · value s, four at once. */
function weighted(
  dst: Float64Array,
  weights: Float64Array,
  { values, columns, rows }: HostMat,
  { first, count, shared }: Seen,
): void {
  dst.fill(0)
  weights.fill(0, count, Math.ceil(count / 4) * 4)
  for (let s = 0; s < count; s += 4) {
    const at = (s0: number): number => Math.min(first + s0, rows - 1) * columns + shared
    const [a, b, c, e] = [at(s), at(s + 1), at(s + 2), at(s + 3)]
    const [w0, w1, w2, w3] = [weights[s]!, weights[s + 1]!, weights[s + 2]!, weights[s + 3]!]
    for (let d = 0; d < dst.length; d++)
      dst[d]! += w0 * values[a + d]! + w1 * values[b + d]! + (w2 * values[c + d]! + w3 * values[e + d]!)
  }
}

export function siluMul(dst: HostMat, gate: HostMat, up: HostMat): void {
  for (let i = 0; i < dst.values.length; i++) {
    const g = gate.values[i]!
    dst.values[i] = (g / (1 + Math.exp(-g))) * up.values[i]!
  }
}

export function crossEntropy(logits: HostMat, targets: Int32Array): Float32Array {
  return Float32Array.from(targets, (target, t) => {
    const row = logits.row(t)
    let most = Number.NEGATIVE_INFINITY
    for (const value of row) most = Math.max(most, value)
    let total = 0
    for (const value of row) total += Math.exp(value - most)
    return Math.log(total) + most - row[target]!
  })
}

export function fakeQuantizeRows(m: HostMat): void {
  const { q, scale } = quantizeRowsReference(Float64Array.from(m.values), m.columns)
  for (let i = 0; i < q.length; i++) m.values[i] = q[i]! * scale[Math.floor(i / m.columns)]!
}

export function fakeQuantizeHeads(m: HostMat, headDim: number, bits: 4 | 8, ratio: number): void {
  const format = kvFormats[`kv${bits}`]
  for (let start = 0; start < m.values.length; start += headDim) {
    const head = m.values.subarray(start, start + headDim)
    const values = Float64Array.from(ratio < 1 ? clampToRange(head, ratio) : head, Math.fround)
    head.set(format.decode(format.encode(values, 'f16'), 'f16'))
  }
}

/** The values clamped to `ratio` times their range, which includes 0. */
export function clampToRange(values: Values, ratio: number): Float32Array {
  let [min, max] = [0, 0]
  for (let i = 0; i < values.length; i++) {
    min = Math.min(min, values[i]!)
    max = Math.max(max, values[i]!)
  }
  const [low, high] = [Math.fround(ratio * min), Math.fround(ratio * max)]
  const clamped = new Float32Array(values.length)
  for (let i = 0; i < values.length; i++) clamped[i] = Math.min(Math.max(values[i]!, low), high)
  return clamped
}
