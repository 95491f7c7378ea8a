import {
  type DType,
  type Elem,
  type f32,
  type In,
  type InOut,
  i8,
  type i32,
  type Out,
  staticAssert,
  to,
} from '../../dsl/index.ts'
import { rowCode } from '../quantize-rows.ts'
import { siluTimes } from '../silu-mul.ts'

/**
 * What both bodies of the GEMM kernels do with scaled sums: on the way from the rows of W to the features of the output,
 * all in f32, and at the end one rounding.
 *
 *   sums · scales → + bias → silu(gate) · up → + residual → f16, bf16, f32, or codes of 8 bits
 */

/** What is done to pairs of rows of W: with 'silu-mul' rows 16j + i and 16j + i + 8 are gate and up of feature 8j + i. */
export type Activation = 'silu-mul'

/** The parts of a product that decide its epilogue. */
export interface Finish {
  readonly activation?: Activation | undefined
  /** Element type of the output. */
  readonly out: DType
  /** Scales of the tokens of an output of 8 bits. */
  readonly outScale?: In<f32, 'M'> | undefined
}

/** Where a product goes: `outScale` with codes of 8 bits, `scratch` where CTAs share tiles or put sums aside. */
export interface Output {
  readonly outScale?: In<f32, 'M'>
  readonly residual?: In<Elem<'dtype'>, 'M N'>
  readonly scratch?: InOut<i32, 'Quads 4'>
  readonly out: Out<Elem<'out', 'dtype'>, 'M N'>
}

/** Where features of gate and up go. */
export interface ActivatedOutput {
  readonly outScale?: In<f32, 'M'>
  readonly scratch?: InOut<i32, 'Quads 4'>
  readonly out: Out<Elem<'out', 'dtype'>, 'M I'>
}

/** How a product goes there. */
export const finishOf = (a: Output | ActivatedOutput, activation: Activation | undefined): Finish => ({
  activation,
  out: a.out.dtype,
  outScale: a.outScale,
})

/** Rows of W for each feature of the output. */
export const featureRows = ({ activation }: Finish): 1 | 2 => (activation === 'silu-mul' ? 2 : 1)

/** What of a product says how many rows and features it has, where that is known at launch. */
interface Extents {
  readonly a: { readonly out: Out<number, string> }
  readonly parts: Finish
}

/** Device: the rows of W. */
export const rowsOf = ({ a, parts }: Extents): i32 =>
  featureRows(parts) === 1 ? a.out.dim('N') : a.out.dim('I') * 2

/** Device: the features of the output: as many, or half. */
export const outFeatures = ({ a, parts }: Extents): i32 => a.out.dim(featureRows(parts) === 1 ? 'N' : 'I')

/** Device: features of scaled rows: the rows themselves or, of rows n and n + 8, one. */
export const featuresOf = (
  { activation }: Finish,
  rows: readonly (readonly f32[])[],
): readonly (readonly f32[])[] =>
  activation === undefined ? rows : [rows[0]!.map((gate, i) => siluTimes(gate, rows[1]![i]!))]

/**
 * Device: rounds a feature to the type of the output: the nearest float or, as `quantizeRows` rounds, the code of 8 bits
 * at a scale that is known beforehand.
 */
export const rounded = (out: DType, value: f32, outScale: f32 | undefined): number =>
  out === 'i8' ? i8.sat(rowCode(value, outScale!)) : to(out, value)

/** Refuses epilogues that make no sense. */
export function checkFinish({ out, outScale, activation }: Finish, c: { readonly residual: boolean }): void {
  staticAssert(
    ['f16', 'bf16', 'f32', 'i8'].includes(out),
    `a GEMM stores floats of 16 or 32 bits or codes of 8, not ${out}`,
  )
  staticAssert(
    (out === 'i8') === (outScale !== undefined),
    "codes of 8 bits have scales of their tokens, and floats none: give out: 'i8' and outScale: true together",
  )
  staticAssert(
    !c.residual || (out !== 'i8' && activation === undefined),
    'a residual is added to sums that stay floats: not to codes of 8 bits, nor behind an activation',
  )
}
