import { exp2ProductReference, fmaF32, reciprocalExactReference } from '../dsl/exact-reference.ts'
import { exp2OfStepsReference } from '../dsl/exp2-steps.ts'
import {
  blockIdx,
  type Elem,
  exp2Flushing,
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

/**
 * Gates further out are taken for this far out, where the form's part of the gate is 1 above and next to nothing below:
 * gelu is −3·10⁻¹⁰ there with the error function, −2·10⁻³⁵ with the tangent.
 */
const FARTHEST = { erf: 6.5, tanh: 9.8 } as const

/** ½ (1 + tanh u) is a sigmoid of 2u, and u is √(2/π) (x + 0.044715 x³): in powers of two, x (CUBIC · x² + LINEAR). */
const LINEAR = -2 * Math.sqrt(2 / Math.PI) * LOG2E
const CUBIC = 0.044715 * LINEAR

/**
 * log₂ Φ(−x) for 0 ≤ x ≤ 6.5 is x · P(x) − 1, to 5·10⁻⁶ of Φ: the logarithm has no bell to follow, and a short polynomial
 * does. Coefficients of P, highest first, by least squares reweighted until the largest error is least.
 */
const TAIL = [
  ...[-1.7603242189697683e-6, 6.000199481616501e-5, -0.0009170442237937277, 0.008451073123497053],
  ...[-0.053835529329012186, -0.45859788859953793, -1.1511941083555732],
]

/** Added to a number from −1024 to 0 it rounds it to a multiple of 2⁻¹², whose power of 2 by the hardware is known. */
const TO_STEPS = 3072

/** Device: gelu(gate) · up, each operation rounded to f32. */
const timesOf =
  (form: GeluForm) =>
  (gate: f32, up: f32): f32 =>
    (form === 'tanh' ? geluTanh(gate) : geluErf(gate)) * up

function geluTanh(gate: f32): f32 {
  const x = Math.max(gate, -FARTHEST.tanh)
  const within = Math.min(x, FARTHEST.tanh)
  const exponent = within * fma(within * within, f32(CUBIC), f32(LINEAR))
  return x * reciprocalExact(1 + exp2Product(exponent, 1))
}

/**
 * max(x, 0) − |x| · Φ(−|x|), which is x · Φ(x) on both sides of 0. The power of 2 is that of a multiple of 2⁻¹² by the
 * hardware, and what is left to it by its tangent.
 */
function geluErf(x: f32): f32 {
  const distance = Math.min(Math.abs(x), FARTHEST.erf)
  const slope = TAIL.slice(1).reduce((sum: f32, term) => fma(sum, distance, f32(term)), f32(TAIL[0]!))
  const shifted = fma(slope, distance, f32(TO_STEPS - 1))
  const rest = fma(slope, distance, TO_STEPS - 1 - shifted)
  const power = exp2Flushing(shifted - TO_STEPS)
  return fma(-distance * power, fma(rest, f32(Math.LN2), f32(1)), Math.max(x, 0))
}

/** gelu(gate) · up of the kernels on the host, bit for bit. */
export const geluTimesReference = (form: GeluForm, gate: number, up: number): number =>
  Math.fround((form === 'tanh' ? geluTanhReference(gate) : geluErfReference(gate)) * up)

function geluTanhReference(gate: number): number {
  const { fround, max, min } = Math
  const x = max(gate, -fround(FARTHEST.tanh))
  const within = min(x, fround(FARTHEST.tanh))
  const exponent = fround(within * fmaF32(fround(within * within), fround(CUBIC), fround(LINEAR)))
  return fround(x * reciprocalExactReference(fround(1 + exp2ProductReference(exponent, 1))))
}

function geluErfReference(x: number): number {
  const { fround } = Math
  const distance = Math.min(Math.abs(x), FARTHEST.erf)
  const slope = TAIL.slice(1).reduce((sum, term) => fmaF32(sum, distance, fround(term)), fround(TAIL[0]!))
  const shifted = fmaF32(slope, distance, TO_STEPS - 1)
  const rest = fmaF32(slope, distance, TO_STEPS - 1 - shifted)
  const power = exp2OfStepsReference(shifted - TO_STEPS)
  return fmaF32(fround(-distance * power), fmaF32(rest, fround(Math.LN2), 1), Math.max(x, 0))
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
