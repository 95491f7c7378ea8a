import {
  barrier,
  blockIdx,
  type Elem,
  f32,
  fma,
  type In,
  type InOut,
  type i8,
  type i32,
  kernel,
  type Out,
  staticAssert,
  to,
} from '../dsl/index.ts'
import { blockSum, rsqrtExact, storeRow } from '../dsl/std/index.ts'
import {
  eachRow,
  loadFloats,
  overlapLaunches,
  type RowConfig,
  rowOptions,
  rowThreads,
  storeFloats,
} from './half-rows.ts'
import { storeQuantized } from './quantize-rows.ts'

export interface RmsNormConfig extends RowConfig {
  /** Hidden size, a multiple of 8. */
  readonly H: number
}

const options = rowOptions((c: RmsNormConfig) => c.H)

/** Device: the calling thread's share of x · rsqrt(mean(x²) + eps) · γ, in f32. */
function normalized(values: readonly f32[], weights: readonly f32[], eps: f32, columns: number): f32[] {
  const squares = values.reduce((total: f32, value) => fma(value, value, total), f32(0))
  const norm = rsqrtExact(blockSum(squares) * (1 / columns) + eps)
  return values.map((value, i) => value * norm * weights[i]!)
}

/** RMSNorm of each row. */
export const rmsNorm = kernel(
  import.meta.url,
  options,
  function rmsNorm(
    a: {
      x: In<Elem<'dtype'>, 'T H'>
      gamma: In<Elem<'dtype'>, 'H'>
      eps: f32
      out: Out<Elem<'dtype'>, 'T H'>
    },
    c: RmsNormConfig,
  ) {
    staticAssert(c.H % 8 === 0, 'the hidden size must be a multiple of 8')
    const share = { columns: c.H, vec: 8 }
    const weights = loadFloats(a.gamma, [], share, c.dtype)
    const source = { src: a.x, at: (row: i32) => [row] }
    eachRow(a.x.dim('T'), share, c, [source], ({ index, take, release }) => {
      const y = normalized(take(0), weights, a.eps, c.H)
      release()
      storeFloats(a.out, [index], share, c.dtype, y)
      barrier()
    })
  },
)

/** RMSNorm of the rows that `rows` names, in its order: the tokens whose logits are wanted. */
export const rmsNormRows = kernel(
  import.meta.url,
  { grid: (d) => [d.R!], block: (c: RmsNormConfig) => [rowThreads(c.H)] },
  function rmsNormRows(
    a: {
      x: In<Elem<'dtype'>, 'T H'>
      rows: In<i32, 'R'>
      gamma: In<Elem<'dtype'>, 'H'>
      eps: f32
      out: Out<Elem<'dtype'>, 'R H'>
    },
    c: RmsNormConfig,
  ) {
    staticAssert(c.H % 8 === 0, 'the hidden size must be a multiple of 8')
    const share = { columns: c.H, vec: 8 }
    const weights = loadFloats(a.gamma, [], share, c.dtype)
    overlapLaunches()
    const values = loadFloats(a.x, [a.rows.at(blockIdx.x)], share, c.dtype)
    storeFloats(a.out, [blockIdx.x], share, c.dtype, normalized(values, weights, a.eps, c.H))
  },
)

/** RMSNorm of each row, quantized to 8 bits in the same pass. */
export const rmsNormQuantize = kernel(
  import.meta.url,
  options,
  function rmsNormQuantize(
    a: {
      x: In<Elem<'dtype'>, 'T H'>
      gamma: In<Elem<'dtype'>, 'H'>
      eps: f32
      q: Out<i8, 'T H'>
      scale: Out<f32, 'T'>
      sum: Out<i32, 'T'>
    },
    c: RmsNormConfig,
  ) {
    staticAssert(c.H % 8 === 0, 'the hidden size must be a multiple of 8')
    const share = { columns: c.H, vec: 8 }
    const weights = loadFloats(a.gamma, [], share, c.dtype)
    const source = { src: a.x, at: (row: i32) => [row] }
    eachRow(a.x.dim('T'), share, c, [source], ({ index, take, release }) => {
      storeQuantized(a, index, share, normalized(take(0), weights, a.eps, c.H), release)
    })
  },
)

/** x += delta, and the RMSNorm of what that gives, rounded as it is stored, quantized to 8 bits in the same pass. */
export const addRmsNormQuantize = kernel(
  import.meta.url,
  options,
  function addRmsNormQuantize(
    a: {
      x: InOut<Elem<'dtype'>, 'T H'>
      delta: In<Elem<'dtype'>, 'T H'>
      gamma: In<Elem<'dtype'>, 'H'>
      eps: f32
      q: Out<i8, 'T H'>
      scale: Out<f32, 'T'>
      sum: Out<i32, 'T'>
    },
    c: RmsNormConfig,
  ) {
    staticAssert(c.H % 8 === 0, 'the hidden size must be a multiple of 8')
    const share = { columns: c.H, vec: 8 }
    const weights = loadFloats(a.gamma, [], share, c.dtype)
    const sources = [a.x, a.delta].map((src) => ({ src, at: (row: i32) => [row] }))
    eachRow(a.x.dim('T'), share, c, sources, ({ index, take, release }) => {
      const delta = take(1)
      const sums = take(0).map((value, i) => to(c.dtype, value + delta[i]!))
      storeRow(a.x, [index], share, sums)
      const values = sums.map((value) => f32(value))
      storeQuantized(a, index, share, normalized(values, weights, a.eps, c.H), release)
    })
  },
)

/** RMSNorm of rows as wide as `gamma`, in float64. */
export function rmsNormReference(x: Float64Array, gamma: Float64Array, eps: number): Float64Array {
  const H = gamma.length
  const out = new Float64Array(x.length)
  for (let start = 0; start < x.length; start += H) {
    let squares = 0
    for (let i = 0; i < H; i++) squares += x[start + i]! ** 2
    const norm = 1 / Math.sqrt(squares / H + eps)
    for (let i = 0; i < H; i++) out[start + i] = x[start + i]! * norm * gamma[i]!
  }
  return out
}
