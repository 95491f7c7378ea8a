import {
  blockIdx,
  type Elem,
  type f32,
  type In,
  type i8,
  type i32,
  kernel,
  type Out,
  staticAssert,
} from '../dsl/index.ts'
import { blockSum, type RowShare, rsqrtExact } from '../dsl/std/index.ts'
import { loadFloats, rowThreads, storeFloats } from './half-rows.ts'
import { storeQuantized } from './quantize-rows.ts'

export interface RmsNormConfig {
  readonly dtype: 'f16' | 'bf16'
  /** Hidden size, a multiple of 8. */
  readonly H: number
}

/** Device: the calling thread's share of x · rsqrt(mean(x²) + eps) · γ, in f32. */
function normalized(
  x: In<number, string>,
  gamma: In<number, string>,
  eps: f32,
  row: i32,
  share: RowShare,
  dtype: 'f16' | 'bf16',
): f32[] {
  const values = loadFloats(x, [row], share, dtype)
  const weights = loadFloats(gamma, [], share, dtype)
  const squares = values.map((value) => value * value).reduce((total, square) => total + square)
  const norm = rsqrtExact(blockSum(squares) * (1 / share.columns) + eps)
  return values.map((value, i) => value * norm * weights[i]!)
}

/** RMSNorm of each row, one CTA per row. */
export const rmsNorm = kernel(
  import.meta.url,
  { grid: (d) => [d.T!], block: (c: RmsNormConfig) => [rowThreads(c.H)] },
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
    const y = normalized(a.x, a.gamma, a.eps, blockIdx.x, share, c.dtype)
    storeFloats(a.out, [blockIdx.x], share, c.dtype, y)
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
    const y = normalized(a.x, a.gamma, a.eps, a.rows.at(blockIdx.x), share, c.dtype)
    storeFloats(a.out, [blockIdx.x], share, c.dtype, y)
  },
)

/** RMSNorm of each row, quantized to 8 bits in the same pass. */
export const rmsNormQuantize = kernel(
  import.meta.url,
  { grid: (d) => [d.T!], block: (c: RmsNormConfig) => [rowThreads(c.H)] },
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
    storeQuantized(a, blockIdx.x, share, normalized(a.x, a.gamma, a.eps, blockIdx.x, share, c.dtype))
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
