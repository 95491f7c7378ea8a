import { fmaF32 } from '../dsl/exact-reference.ts'
import {
  barrier,
  blockDim,
  blockIdx,
  type Elem,
  each,
  f32,
  fma,
  type In,
  type InOut,
  type i8,
  type i32,
  kernel,
  laneIdx,
  load,
  type Out,
  reduxAdd,
  shared,
  threadIdx,
  to,
  warpIdx,
} from '../dsl/index.ts'
import {
  blockSum,
  loadRow,
  pairwise,
  type RowShare,
  rsqrtExact,
  storeRow,
  warpSum,
} from '../dsl/std/index.ts'
import {
  loadFloats,
  numberAhead,
  overlapLaunches,
  prefetchRow,
  type RowConfig,
  type RowOutput,
  rowOptions,
  rowShare,
  rowThreads,
  storeFloats,
} from './half-rows.ts'
import {
  largestMagnitude,
  type QuantizedRows,
  quantizeRowsReference,
  scaleOf,
  storeCodes,
} from './quantize-rows.ts'

export interface RmsNormConfig extends RowConfig {
  /** Hidden size, a multiple of 8. */
  readonly H: number
}

const columns = (c: RmsNormConfig) => c.H

/** Device: the sum of the squares of the calling thread's share of a row: of each access, and then of neighbours. */
function sumOfSquares(values: readonly f32[]): f32 {
  const accesses = each(values.length / 8, (i) =>
    values.slice(8 * i, 8 * i + 8).reduce((total: f32, value) => fma(value, value, total), f32(0)),
  )
  return pairwise(accesses, (a, b) => a + b)
}

/** Device: the calling thread's share of x · rsqrt(mean(x²) + eps) · γ, in f32. */
function normalized(values: readonly f32[], weights: readonly number[], eps: f32, columns: number): f32[] {
  const norm = rsqrtExact(blockSum(sumOfSquares(values)) * (1 / columns) + eps)
  return values.map((value, i) => value * norm * f32(weights[i]!))
}

/** RMSNorm of each row. */
export const rmsNorm = kernel(
  import.meta.url,
  rowOptions(columns, 'halfs'),
  function rmsNorm(
    a: {
      x: In<Elem<'dtype'>, 'T H'>
      gamma: In<Elem<'dtype'>, 'H'>
      eps: f32
      out: Out<Elem<'dtype'>, 'T H'>
    },
    c: RmsNormConfig,
  ) {
    const share = rowShare(c.H)
    const weights = loadRow(a.gamma, [], share, to(c.dtype, 0))
    overlapLaunches()
    const values = loadFloats(a.x, [blockIdx.x], share, c.dtype)
    storeFloats(a.out, [blockIdx.x], share, c.dtype, normalized(values, weights, a.eps, c.H))
  },
)

/**
 * RMSNorm of the rows that `rows` names, in its order: the tokens whose logits are wanted. `rows` is read before the previous
 * kernel has ended: it may not write it.
 */
export const rmsNormRows = kernel(
  import.meta.url,
  rowOptions(columns, 'halfs', 'R'),
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
    const share = rowShare(c.H)
    const weights = loadRow(a.gamma, [], share, to(c.dtype, 0))
    const row = a.rows.at(blockIdx.x)
    const ahead = numberAhead(a.rows, c.H)
    overlapLaunches()
    const values = loadFloats(a.x, [row], share, c.dtype)
    storeFloats(a.out, [blockIdx.x], share, c.dtype, normalized(values, weights, a.eps, c.H))
    prefetchRow(a.x, ahead, a.x.dim('T'), c.H)
  },
)

/**
 * Device: stores x · rsqrt(mean(x²) + eps) · γ of the calling thread's share of a row in 8 bits. The factor of the whole row
 * is in its scale alone: codes do not wait for the sum of squares.
 */
function storeNormalized(
  out: QuantizedRows,
  row: i32,
  share: RowShare,
  values: readonly f32[],
  weights: readonly number[],
  eps: f32,
): void {
  // Before anything else, so that no register holds the values themselves across a barrier.
  const ownSquares = sumOfSquares(values)
  const weighted = values.map((value, i) => value * f32(weights[i]!))
  const largest = largestMagnitude(weighted)
  const codes = storeCodes(out.q, row, share, weighted, largest)
  const { squares, sum } = blockSums(ownSquares, codes)
  if (threadIdx.x === 0) {
    out.scale.put(scaleOf(largest, rsqrtExact(squares * (1 / share.columns) + eps)), row)
    out.sum.put(sum, row)
  }
}

/** Device: the sum of an f32, and of an i32, over all threads, to the first thread. Holds a barrier. */
function blockSums(square: f32, code: i32): { squares: f32; sum: i32 } {
  const squares = warpSum(square)
  const sum = reduxAdd(code)
  const warps = blockDim.x / 32
  if (warps === 1) return { squares, sum }
  const floats = shared<f32>('f32', [warps])
  const integers = shared<i32>('i32', [warps])
  if (laneIdx === 0) {
    floats.put(squares, warpIdx)
    integers.put(sum, warpIdx)
  }
  barrier()
  return {
    squares: load(floats, [0], warps).reduce((total, value) => total + value),
    sum: load(integers, [0], warps).reduce((total, value) => total + value),
  }
}

/** RMSNorm of each row, quantized to 8 bits in the same pass. */
export const rmsNormQuantize = kernel(
  import.meta.url,
  rowOptions(columns, 'quantized'),
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
    const share = rowShare(c.H)
    const weights = loadRow(a.gamma, [], share, to(c.dtype, 0))
    overlapLaunches()
    const values = loadFloats(a.x, [blockIdx.x], share, c.dtype)
    storeNormalized(a, blockIdx.x, share, values, weights, a.eps)
  },
)

/** x += delta, and the RMSNorm of what that gives, rounded as it is stored, quantized to 8 bits in the same pass. */
export const addRmsNormQuantize = kernel(
  import.meta.url,
  rowOptions(columns, 'quantized'),
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
    const share = rowShare(c.H)
    const weights = loadRow(a.gamma, [], share, to(c.dtype, 0))
    overlapLaunches()
    const delta = loadFloats(a.delta, [blockIdx.x], share, c.dtype)
    const sums = loadFloats(a.x, [blockIdx.x], share, c.dtype).map((value, i) =>
      to(c.dtype, value + delta[i]!),
    )
    storeRow(a.x, [blockIdx.x], share, sums)
    const values = sums.map((value) => f32(value))
    storeNormalized(a, blockIdx.x, share, values, weights, a.eps)
  },
)

/**
 * The factors of rows of `H` elements, 1 / √(mean(x²) + eps), as the kernels compute them, bit for bit: squares are added
 * eight neighbours at a time, those of a thread then by pairs, those of the lanes of a warp by pairs, and those of warps in
 * their order.
 */
function factorsReference(x: Float64Array, H: number, eps: number, output: RowOutput): Float32Array {
  const { fround } = Math
  const threads = rowThreads(H, output)
  const turns = Math.ceil(H / 8 / threads)
  return Float32Array.from({ length: x.length / H }, (_, row) => {
    const accesses = Array.from({ length: turns * threads }, (_, i) => {
      const from = row * H + 8 * i
      const values = x.subarray(from, Math.min(from + 8, (row + 1) * H))
      return values.reduce((sum, value) => fmaF32(value, value, sum), 0)
    })
    const ofThread = Array.from({ length: threads }, (_, thread) =>
      pairwiseSum(accesses.filter((_, i) => i % threads === thread)),
    )
    let total = 0
    for (let warp = 0; warp < threads; warp += 32)
      total = fround(total + warpTotal(ofThread.slice(warp, warp + 32)))
    return 1 / fround(Math.sqrt(fround(fround(total * fround(1 / H)) + fround(eps))))
  })
}

const pairwiseSum = (values: readonly number[]): number =>
  values.length === 1
    ? values[0]!
    : pairwiseSum(
        values.flatMap((value, i) => (i % 2 === 1 ? [] : [Math.fround(value + (values[i + 1] ?? 0))])),
      )

/** Lanes half a warp apart, then a quarter, and so on. */
const warpTotal = (lanes: readonly number[]): number =>
  lanes.length === 1
    ? lanes[0]!
    : warpTotal(
        lanes.slice(0, lanes.length / 2).map((value, i) => Math.fround(value + lanes[i + lanes.length / 2]!)),
      )

/** RMSNorm of rows as wide as `gamma`, bit for bit as `rmsNorm`, before the result is rounded to 16 bits. */
export function rmsNormReference(x: Float64Array, gamma: Float64Array, eps: number): Float64Array {
  const H = gamma.length
  const factors = factorsReference(x, H, eps, 'halfs')
  return x.map((value, i) => Math.fround(Math.fround(value * factors[Math.floor(i / H)]!) * gamma[i % H]!))
}

/** RMSNorm of rows as wide as `gamma`, quantized as `rmsNormQuantize` does, bit for bit. */
export function rmsNormQuantizeReference(
  x: Float64Array,
  gamma: Float64Array,
  eps: number,
): ReturnType<typeof quantizeRowsReference> {
  const H = gamma.length
  const weighted = x.map((value, i) => Math.fround(value * gamma[i % H]!))
  return quantizeRowsReference(weighted, H, factorsReference(x, H, eps, 'quantized'))
}
