import { exp2ProductReference, fmaF32, reciprocalExactReference } from '../dsl/exact-reference.ts'
import {
  blockIdx,
  type Elem,
  f32,
  fma,
  type In,
  type i8,
  type i32,
  kernel,
  LOG2E,
  type Out,
} from '../dsl/index.ts'
import { exp2Product, reciprocalExact } from '../dsl/std/index.ts'
import { overlapLaunches, type RowConfig, rowOptions, rowShare, storeFloats } from './half-rows.ts'
import { storeQuantized } from './quantize-rows.ts'
import { gated } from './silu-mul.ts'

/** x · Φ(x) with the error function, or with the hyperbolic tangent that comes near it. */
export type GeluForm = 'erf' | 'tanh'

export interface GeluMulConfig extends RowConfig {
  /** Intermediate size, a multiple of 8. */
  readonly I: number
  readonly form: GeluForm
}

/** Gates further out are taken for this far out, whose gelu is the gate itself or −10⁻³⁶ at most. */
const FARTHEST = { erf: 12.7, tanh: 20 } as const

/** ½ (1 + tanh u) is a sigmoid of 2u, and u is √(2/π) (x + 0.044715 x³): in powers of two, x (CUBIC · x² + LINEAR). */
const LINEAR = -2 * Math.sqrt(2 / Math.PI) * LOG2E
const CUBIC = 0.044715 * LINEAR
const MOST_EXPONENT = 125

/**
 * Φ(−x) for 0 ≤ x ≤ 12.7 is t · P(t) · exp(−x²/2) with t = 1 / (1 + TAIL_POLE · x), to 6·10⁻⁷ of itself: coefficients of P,
 * highest first, by Remez's exchange for several poles.
 */
const TAIL = [
  ...[-0.14354085515311923, 0.439259008590904, -0.19169016674583952, 0.3213417389141303, 0.15106902305985237],
  ...[0.21520847818843086, 0.20835332070377796],
].map((coefficient) => coefficient / 2)
const TAIL_POLE = 0.37 * Math.SQRT1_2

/** Device: gelu(gate) · up, each operation rounded to f32. */
const timesOf =
  (form: GeluForm) =>
  (gate: f32, up: f32): f32 =>
    (form === 'tanh' ? geluTanh(gate) : geluErf(gate)) * up

function geluTanh(gate: f32): f32 {
  const x = Math.max(gate, -FARTHEST.tanh)
  const within = Math.min(x, FARTHEST.tanh)
  const exponent = within * fma(within * within, f32(CUBIC), f32(LINEAR))
  return x * reciprocalExact(1 + exp2Product(Math.max(Math.min(exponent, MOST_EXPONENT), -MOST_EXPONENT), 1))
}

/** max(x, 0) − |x| · Φ(−|x|), which is x · Φ(x) on both sides of 0. */
function geluErf(x: f32): f32 {
  const distance = Math.min(Math.abs(x), FARTHEST.erf)
  const t = reciprocalExact(fma(distance, f32(TAIL_POLE), f32(1)))
  const polynomial = TAIL.slice(1).reduce((sum: f32, term) => fma(sum, t, f32(term)), f32(TAIL[0]!))
  const tail = t * polynomial * exp2Product(distance * distance, -LOG2E / 2)
  return fma(-distance, tail, Math.max(x, 0))
}

/** gelu(gate) · up of the kernels on the host, bit for bit. */
export const geluTimesReference = (form: GeluForm, gate: number, up: number): number =>
  Math.fround((form === 'tanh' ? geluTanhReference(gate) : geluErfReference(gate)) * up)

function geluTanhReference(gate: number): number {
  const { fround, max, min } = Math
  const x = max(gate, -FARTHEST.tanh)
  const within = min(x, FARTHEST.tanh)
  const exponent = fround(within * fmaF32(fround(within * within), fround(CUBIC), fround(LINEAR)))
  const power = exp2ProductReference(max(min(exponent, MOST_EXPONENT), -MOST_EXPONENT), 1)
  return fround(x * reciprocalExactReference(fround(1 + power)))
}

function geluErfReference(x: number): number {
  const { fround } = Math
  const distance = Math.min(Math.abs(x), fround(FARTHEST.erf))
  const t = reciprocalExactReference(fmaF32(distance, fround(TAIL_POLE), 1))
  const polynomial = TAIL.slice(1).reduce((sum, term) => fmaF32(sum, t, fround(term)), fround(TAIL[0]!))
  const power = exp2ProductReference(fround(distance * distance), -LOG2E / 2)
  const tail = fround(fround(t * polynomial) * power)
  return fmaF32(-distance, tail, Math.max(x, 0))
}

const columns = (c: GeluMulConfig) => c.I

/** gelu(gate) · up of each row; `x` holds a row's gate and then its up projection. */
export const geluMul = kernel(
  import.meta.url,
  rowOptions(columns, 'halfs'),
  function geluMul(a: { x: In<Elem<'dtype'>, 'T 2 I'>; out: Out<Elem<'dtype'>, 'T I'> }, c: GeluMulConfig) {
    const share = rowShare(c.I)
    overlapLaunches()
    storeFloats(a.out, [blockIdx.x], share, c.dtype, gated(a.x, blockIdx.x, share, c.dtype, timesOf(c.form)))
  },
)

/** gelu(gate) · up of each row, quantized to 8 bits in the same pass. */
export const geluMulQuantize = kernel(
  import.meta.url,
  rowOptions(columns, 'quantized'),
  function geluMulQuantize(
    a: { x: In<Elem<'dtype'>, 'T 2 I'>; q: Out<i8, 'T I'>; scale: Out<f32, 'T'>; sum: Out<i32, 'T'> },
    c: GeluMulConfig,
  ) {
    const share = rowShare(c.I)
    overlapLaunches()
    storeQuantized(a, blockIdx.x, share, gated(a.x, blockIdx.x, share, c.dtype, timesOf(c.form)))
  },
)
