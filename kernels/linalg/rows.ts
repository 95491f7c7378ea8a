import {
  atomicMin,
  blockIdx,
  f32,
  fma,
  type In,
  type InOut,
  i32,
  kernel,
  LOG2E,
  type Out,
  range,
  threadIdx,
} from '../../dsl/index.ts'
import type { Dims } from '../../dsl/kernel.ts'
import { blockMax, blockSum, exp2Exact, rsqrtExact } from '../../dsl/std/index.ts'
import { inverseOf, largestMagnitude, ROUNDING, scaleOf } from '../quantize-rows.ts'

/** Kernels that look at a whole row of f32 at a time: a CTA has a row of any length, and reads it as often as it must. */

const THREADS = 256

const options = { grid: (d: Dims) => [d.T!] as const, block: [THREADS] as const }

/** Device: the sum of `f` over a row's columns, the same for all threads. */
function sumOver(columns: i32, f: (column: i32) => f32): f32 {
  let sum: f32 = 0
  for (const column of range(threadIdx.x, columns, THREADS)) sum += f(column)
  return blockSum(sum)
}

/** dst[r] = the mean square of row r. */
export const rowMeanSquare = kernel(
  import.meta.url,
  options,
  function rowMeanSquare(a: { m: In<f32, 'T C'>; dst: Out<f32, 'T'> }) {
    const columns = a.m.dim('C')
    const sum = sumOver(columns, (column) => {
      const value = a.m.at(blockIdx.x, column)
      return value * value
    })
    if (threadIdx.x === 0) a.dst.put(sum / f32(columns), blockIdx.x)
  },
)

/** dst[r] = Σ a[r, c] · b[r, c]. */
export const rowDots = kernel(
  import.meta.url,
  options,
  function rowDots(a: { a: In<f32, 'T C'>; b: In<f32, 'T C'>; dst: Out<f32, 'T'> }) {
    const row = blockIdx.x
    const sum = sumOver(a.a.dim('C'), (column) => a.a.at(row, column) * a.b.at(row, column))
    if (threadIdx.x === 0) a.dst.put(sum, row)
  },
)

/** dst = x / √(mean square + eps) · gain. */
export const normalizeRows = kernel(
  import.meta.url,
  options,
  function normalizeRows(
    a: { dst: Out<f32, 'T C'>; x: In<f32, 'T C'>; gain?: In<f32, 'C'>; eps: f32 },
    _c: { readonly gain: boolean },
  ) {
    const row = blockIdx.x
    const columns = a.x.dim('C')
    const squares = sumOver(columns, (column) => {
      const value = a.x.at(row, column)
      return value * value
    })
    const factor = rsqrtExact(squares / f32(columns) + a.eps)
    for (const column of range(threadIdx.x, columns, THREADS)) {
      const value = a.x.at(row, column) * factor
      a.dst.put(a.gain ? value * a.gain.at(column) : value, row, column)
    }
  },
)

/** Each row becomes what its int8 codes stand for, which are those of `quantizeRows`. */
export const fakeQuantizeRows = kernel(
  import.meta.url,
  options,
  function fakeQuantizeRows(a: { m: InOut<f32, 'T C'> }) {
    const row = blockIdx.x
    const columns = a.m.dim('C')
    let own: f32 = 0
    for (const column of range(threadIdx.x, columns, THREADS))
      own = Math.max(own, Math.abs(a.m.at(row, column)))
    const largest = largestMagnitude([own])
    const inverse = inverseOf(largest)
    const scale = scaleOf(largest, f32(1))
    for (const column of range(threadIdx.x, columns, THREADS)) {
      const code = fma(a.m.at(row, column), inverse, f32(ROUNDING)) - ROUNDING
      a.m.put(code * scale, row, column)
    }
  },
)

/** The largest of each row, the sum of exp(x − largest) and the target's element: what its cross entropy is made of. */
export const softmaxParts = kernel(
  import.meta.url,
  options,
  function softmaxParts(a: { x: In<f32, 'T C'>; targets: In<i32, 'T'>; parts: Out<f32, 'T 3'> }) {
    const row = blockIdx.x
    const columns = a.x.dim('C')
    let own: f32 = f32.lowest
    for (const column of range(threadIdx.x, columns, THREADS)) own = Math.max(own, a.x.at(row, column))
    const largest = blockMax(own)
    const sum = sumOver(columns, (column) => exp2Exact((a.x.at(row, column) - largest) * LOG2E))
    if (threadIdx.x === 0) {
      a.parts.put(largest, row, 0)
      a.parts.put(sum, row, 1)
      a.parts.put(a.x.at(row, a.targets.at(row)), row, 2)
    }
  },
)

/** first[0] = the first row that holds something else than finite numbers, if that comes before what is there. */
export const findNonFinite = kernel(
  import.meta.url,
  options,
  function findNonFinite(a: { m: In<f32, 'T C'>; first: InOut<i32, '1'> }) {
    const row = blockIdx.x
    let found: i32 = 0
    // All bits of the exponent are set in infinities and NaNs alone.
    for (const column of range(threadIdx.x, a.m.dim('C'), THREADS))
      found = (i32.bits(a.m.at(row, column)) & 0x7f800000) === 0x7f800000 ? 1 : found
    if (found === 1) atomicMin(a.first, [0], row)
  },
)
