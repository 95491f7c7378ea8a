import { exp2ProductReference, reciprocalExactReference } from '../dsl/exact-reference.ts'
import {
  blockIdx,
  type Elem,
  type f32,
  type In,
  type i8,
  type i32,
  kernel,
  LOG2E,
  type Out,
} from '../dsl/index.ts'
import { exp2Product, type RowShare, reciprocalExact } from '../dsl/std/index.ts'
import {
  type HalfType,
  loadFloats,
  overlapLaunches,
  type RowConfig,
  rowOptions,
  rowShare,
  storeFloats,
} from './half-rows.ts'
import { storeQuantized } from './quantize-rows.ts'

export interface SiluMulConfig extends RowConfig {
  /** Intermediate size, a multiple of 8. */
  readonly I: number
}

/** Gates below −`STEEPEST` are taken for it, whose silu is −4·10⁻³⁶; the exponents of those above `STEEPEST` end there. */
const STEEPEST = 86

/** Device: silu(gate) · up, each operation rounded to f32. */
export function siluTimes(gate: f32, up: f32): f32 {
  const x = Math.max(gate, -STEEPEST)
  return x * reciprocalExact(1 + exp2Product(Math.min(x, STEEPEST), -LOG2E)) * up
}

/** `siluTimes` on the host, bit for bit. */
export function siluTimesReference(gate: number, up: number): number {
  const { fround, max, min } = Math
  const x = max(gate, -STEEPEST)
  const power = exp2ProductReference(min(x, STEEPEST), -LOG2E)
  return fround(fround(x * reciprocalExactReference(fround(1 + power))) * up)
}

/** Device: `times(gate, up)` for the calling thread's share of a row, in f32. */
export function gated(
  x: In<number, 'T 2 I'>,
  row: i32,
  share: RowShare,
  dtype: HalfType,
  times: (gate: f32, up: f32) => f32,
): f32[] {
  const up = loadFloats(x, [row, 1], share, dtype)
  return loadFloats(x, [row, 0], share, dtype).map((gate, i) => times(gate, up[i]!))
}

const columns = (c: SiluMulConfig) => c.I

/** silu(gate) · up of each row; `x` holds a row's gate and then its up projection. */
export const siluMul = kernel(
  import.meta.url,
  rowOptions(columns, 'halfs'),
  function siluMul(a: { x: In<Elem<'dtype'>, 'T 2 I'>; out: Out<Elem<'dtype'>, 'T I'> }, c: SiluMulConfig) {
    const share = rowShare(c.I)
    overlapLaunches()
    storeFloats(a.out, [blockIdx.x], share, c.dtype, gated(a.x, blockIdx.x, share, c.dtype, siluTimes))
  },
)

/** silu(gate) · up of each row, quantized to 8 bits in the same pass. */
export const siluMulQuantize = kernel(
  import.meta.url,
  rowOptions(columns, 'quantized'),
  function siluMulQuantize(
    a: { x: In<Elem<'dtype'>, 'T 2 I'>; q: Out<i8, 'T I'>; scale: Out<f32, 'T'>; sum: Out<i32, 'T'> },
    c: SiluMulConfig,
  ) {
    const share = rowShare(c.I)
    overlapLaunches()
    storeQuantized(a, blockIdx.x, share, gated(a.x, blockIdx.x, share, c.dtype, siluTimes))
  },
)

/** `times(gate, up)` of rows of 2·I columns. */
export function gatedReference(
  x: Float64Array,
  I: number,
  times: (gate: number, up: number) => number,
): Float64Array {
  const out = new Float64Array(x.length / 2)
  for (let i = 0; i < out.length; i++) {
    const gate = i + I * Math.floor(i / I)
    out[i] = times(x[gate]!, x[gate + I]!)
  }
  return out
}
