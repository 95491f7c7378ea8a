import { fmaF32, reciprocalExactReference } from '../dsl/exact-reference.ts'
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
import { reciprocalExact } from '../dsl/std/index.ts'
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
 * gelu is −3·10⁻¹⁰ there with the error function, −7·10⁻¹³ with the tangent.
 */
const FARTHEST = 6.5

/** ½ (1 + tanh u) is a sigmoid of 2u, and u is √(2/π) (x + 0.044715 x³): in powers of two, x (CUBIC · x² + LINEAR). */
const LINEAR = -2 * Math.sqrt(2 / Math.PI) * LOG2E
const CUBIC = 0.044715 * LINEAR
/** The sigmoid's exponents are up to 43.3. Less this they are all negative, as `TO_STEPS` wants them. */
const MOST_EXPONENT = 44

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
  const x = Math.max(gate, -FARTHEST)
  const within = Math.min(x, FARTHEST)
  const slope = fma(within * within, f32(CUBIC), f32(LINEAR))
  const { power, tangent } = exp2Line(slope, within, -MOST_EXPONENT)
  return x * (reciprocalExact(fma(power, tangent, f32(2 ** -MOST_EXPONENT))) * 2 ** -MOST_EXPONENT)
}

/** max(x, 0) − |x| · Φ(−|x|), which is x · Φ(x) on both sides of 0. */
function geluErf(x: f32): f32 {
  const distance = Math.min(Math.abs(x), FARTHEST)
  const slope = TAIL.slice(1).reduce((sum: f32, term) => fma(sum, distance, f32(term)), f32(TAIL[0]!))
  const { power, tangent } = exp2Line(slope, distance, -1)
  return fma(-distance * power, tangent, Math.max(x, 0))
}

/**
 * 2^(slope · x + offset) in two factors: the power of the nearest multiple of 2⁻¹² by the hardware, and of what is left to it
 * by its tangent.
 */
function exp2Line(slope: f32, x: f32, offset: number): { power: f32; tangent: f32 } {
  const shifted = fma(slope, x, f32(TO_STEPS + offset))
  const rest = fma(slope, x, TO_STEPS + offset - shifted)
  return { power: exp2Flushing(shifted - TO_STEPS), tangent: fma(rest, f32(Math.LN2), f32(1)) }
}

/** gelu(gate) · up of the kernels on the host, bit for bit. */
export const geluTimesReference = (form: GeluForm, gate: number, up: number): number =>
  Math.fround((form === 'tanh' ? geluTanhReference(gate) : geluErfReference(gate)) * up)

function geluTanhReference(gate: number): number {
  const { fround, max, min } = Math
  const x = max(gate, -FARTHEST)
  const within = min(x, FARTHEST)
  const slope = fmaF32(fround(within * within), fround(CUBIC), fround(LINEAR))
  const { power, tangent } = exp2LineReference(slope, within, -MOST_EXPONENT)
  const scaled = reciprocalExactReference(fmaF32(power, tangent, 2 ** -MOST_EXPONENT))
  return fround(x * (scaled * 2 ** -MOST_EXPONENT))
}

function geluErfReference(x: number): number {
  const { abs, fround, max, min } = Math
  const distance = min(abs(x), FARTHEST)
  const slope = TAIL.slice(1).reduce((sum, term) => fmaF32(sum, distance, fround(term)), fround(TAIL[0]!))
  const { power, tangent } = exp2LineReference(slope, distance, -1)
  return fmaF32(fround(-distance * power), tangent, max(x, 0))
}

function exp2LineReference(slope: number, x: number, offset: number): { power: number; tangent: number } {
  const shifted = fmaF32(slope, x, TO_STEPS + offset)
  const rest = fmaF32(slope, x, TO_STEPS + offset - shifted)
  return {
    power: exp2OfStepsReference(shifted - TO_STEPS),
    tangent: fmaF32(rest, Math.fround(Math.LN2), 1),
  }
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
