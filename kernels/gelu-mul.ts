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

/** Gates further out are taken for this far out, whose gelu is the gate itself or −10⁻³⁶ at most. */
const FARTHEST = { erf: 12.7, tanh: 20 } as const

/** ½ (1 + tanh u) is a sigmoid of 2u, and u is √(2/π) (x + 0.044715 x³): in powers of two, x (CUBIC · x² + LINEAR). */
const LINEAR = -2 * Math.sqrt(2 / Math.PI) * LOG2E
const CUBIC = 0.044715 * LINEAR
const MOST_EXPONENT = 125

/**
 * Φ(−x) for 0 ≤ x ≤ 12.7 is t · P(t) · exp(−x²/2) with t = 1 / (1 + TAIL_POLE · x), to 5·10⁻⁶ of itself: coefficients of P,
 * highest first, by least squares reweighted until the largest error is least, for several poles.
 */
const TAIL = [
  ...[-0.07392989263163884, 0.1804527695311027, 0.01574170465208015, 0.13343156845042128],
  ...[0.1204407724729722, 0.12386075604981892],
]
const TAIL_POLE = 0.31

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
  return x * reciprocalExact(1 + exp2Product(Math.max(Math.min(exponent, MOST_EXPONENT), -MOST_EXPONENT), 1))
}

/** max(x, 0) − |x| · Φ(−|x|), which is x · Φ(x) on both sides of 0. */
function geluErf(x: f32): f32 {
  const distance = Math.min(Math.abs(x), FARTHEST.erf)
  const t = reciprocalExact(fma(distance, f32(TAIL_POLE), f32(1)))
  const polynomial = TAIL.slice(1).reduce((sum: f32, term) => fma(sum, t, f32(term)), f32(TAIL[0]!))
  const tail = t * polynomial * bell(distance * distance)
  return fma(-distance, tail, Math.max(x, 0))
}

/** exp(−square/2) down to 2⁻¹²⁰: of a multiple of 2⁻¹² by the hardware, and what is left to it by its tangent. */
function bell(square: f32): f32 {
  const steps = fma(square, f32(-LOG2E / 2), f32(TO_STEPS)) - TO_STEPS
  const rest = fma(square, f32(-LOG2E / 2), -steps)
  return exp2Flushing(steps) * fma(rest, f32(Math.LN2), f32(1))
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
  const tail = fround(fround(t * polynomial) * bellReference(fround(distance * distance)))
  return fmaF32(-distance, tail, Math.max(x, 0))
}

function bellReference(square: number): number {
  const { fround } = Math
  const factor = fround(-LOG2E / 2)
  const steps = fmaF32(square, factor, TO_STEPS) - TO_STEPS
  const rest = fmaF32(square, factor, -steps)
  return fround(exp2OfStepsReference(steps) * fmaF32(rest, fround(Math.LN2), 1))
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
