import { exp2ExactReference } from '../dsl/exact-reference.ts'
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
  staticAssert,
} from '../dsl/index.ts'
import { exp2Exact, type RowShare } from '../dsl/std/index.ts'
import { loadFloats, rowThreads, storeFloats } from './half-rows.ts'
import { storeQuantized } from './quantize-rows.ts'

export interface SiluMulConfig {
  readonly dtype: 'f16' | 'bf16'
  /** Intermediate size, a multiple of 8. */
  readonly I: number
}

/** Device: silu(gate) · up, each operation rounded to f32. */
export const siluTimes = (gate: f32, up: f32): f32 => (gate / (1 + exp2Exact(-gate * LOG2E))) * up

/** `siluTimes` on the host, bit for bit. */
export function siluTimesReference(gate: number, up: number): number {
  const { fround } = Math
  const power = exp2ExactReference(fround(-gate * fround(LOG2E)))
  return fround(fround(gate / fround(1 + power)) * up)
}

/** Device: silu(gate) · up for the calling thread's share of a row, in f32. */
function gated(x: In<number, string>, row: i32, share: RowShare, dtype: 'f16' | 'bf16'): f32[] {
  const gate = loadFloats(x, [row, 0], share, dtype)
  const up = loadFloats(x, [row, 1], share, dtype)
  return gate.map((value, i) => siluTimes(value, up[i]!))
}

/** silu(gate) · up of each row; `x` holds a row's gate and then its up projection. One CTA per row. */
export const siluMul = kernel(
  import.meta.url,
  { grid: (d) => [d.T!], block: (c: SiluMulConfig) => [rowThreads(c.I)] },
  function siluMul(a: { x: In<Elem<'dtype'>, 'T 2 I'>; out: Out<Elem<'dtype'>, 'T I'> }, c: SiluMulConfig) {
    staticAssert(c.I % 8 === 0, 'the intermediate size must be a multiple of 8')
    const share = { columns: c.I, vec: 8 }
    storeFloats(a.out, [blockIdx.x], share, c.dtype, gated(a.x, blockIdx.x, share, c.dtype))
  },
)

/** silu(gate) · up of each row, quantized to 8 bits in the same pass. */
export const siluMulQuantize = kernel(
  import.meta.url,
  { grid: (d) => [d.T!], block: (c: SiluMulConfig) => [rowThreads(c.I)] },
  function siluMulQuantize(
    a: { x: In<Elem<'dtype'>, 'T 2 I'>; q: Out<i8, 'T I'>; scale: Out<f32, 'T'>; sum: Out<i32, 'T'> },
    c: SiluMulConfig,
  ) {
    staticAssert(c.I % 8 === 0, 'the intermediate size must be a multiple of 8')
    const share = { columns: c.I, vec: 8 }
    storeQuantized(a, blockIdx.x, share, gated(a.x, blockIdx.x, share, c.dtype))
  },
)

/** silu(gate) · up of rows of 2·I columns, in float64. */
export function siluMulReference(x: Float64Array, I: number): Float64Array {
  const rows = x.length / (2 * I)
  const out = new Float64Array(rows * I)
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < I; i++) {
      const gate = x[2 * row * I + i]!
      out[row * I + i] = (gate / (1 + Math.exp(-gate))) * x[(2 * row + 1) * I + i]!
    }
  }
  return out
}
