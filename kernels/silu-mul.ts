import { exp2ProductReference, reciprocalExactReference } from '../dsl/exact-reference.ts'
import {
  barrier,
  type Elem,
  type f32,
  type In,
  type i8,
  type i32,
  kernel,
  LOG2E,
  type Out,
} from '../dsl/index.ts'
import { exp2Product, reciprocalExact } from '../dsl/std/index.ts'
import { eachRow, type Row, type RowConfig, rowOptions, storeFloats } from './half-rows.ts'
import { storeQuantized } from './quantize-rows.ts'

export interface SiluMulConfig extends RowConfig {
  /** Intermediate size, a multiple of 8. */
  readonly I: number
}

const options = rowOptions((c: SiluMulConfig) => c.I)

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

/** Device: `times(gate, up)` for the calling thread's share of a row of `projections`, in f32. */
export function gated({ take }: Row, times: (gate: f32, up: f32) => f32): f32[] {
  const up = take(1)
  return take(0).map((gate, i) => times(gate, up[i]!))
}

/** Device: both projections of a row. */
export const projections = (x: In<number, 'T 2 I'>) =>
  [0, 1].map((part) => ({ src: x, at: (row: i32) => [row, part] }))

/** silu(gate) · up of each row; `x` holds a row's gate and then its up projection. */
export const siluMul = kernel(
  import.meta.url,
  options,
  function siluMul(a: { x: In<Elem<'dtype'>, 'T 2 I'>; out: Out<Elem<'dtype'>, 'T I'> }, c: SiluMulConfig) {
    eachRow(a.x.dim('T'), c.I, c, projections(a.x), (row) => {
      const y = gated(row, siluTimes)
      barrier()
      row.release()
      storeFloats(a.out, [row.index], row.share, c.dtype, y)
    })
  },
)

/** silu(gate) · up of each row, quantized to 8 bits in the same pass. */
export const siluMulQuantize = kernel(
  import.meta.url,
  options,
  function siluMulQuantize(
    a: { x: In<Elem<'dtype'>, 'T 2 I'>; q: Out<i8, 'T I'>; scale: Out<f32, 'T'>; sum: Out<i32, 'T'> },
    c: SiluMulConfig,
  ) {
    eachRow(a.x.dim('T'), c.I, c, projections(a.x), (row) => {
      storeQuantized(a, row.index, row.share, gated(row, siluTimes), row.release)
    })
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
