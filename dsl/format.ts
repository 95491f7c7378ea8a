import type { MmaAtom } from './atoms/index.ts'
import type { Layout } from './layout/index.ts'
import type { u32 } from './scalars.ts'

/** Where a zero point is subtracted: in registers before the MMA, or once after the whole product as `− z · Σx`. */
export type ZeroHandling = 'epilogue' | 'register'

/** The codes of a weight matrix on the host, one to an element, [N, K] row-major; 16-bit floats by their bits. */
export type Codes = Uint8Array | Int8Array | Uint16Array

/** What a format needs of one row of weights (of one group of it) to make MMA operands, in a lane's registers. */
export interface RowParameters {
  /** Multiplies each code. */
  readonly scale: u32
  /** A byte, replicated to four on the device, that is added to or subtracted from the scaled codes. */
  readonly offset: u32
}

/**
 * A number format of weights that a tensor-core GEMM reads in fragment order, as the A operand of D = W·Xᵀ.
 *
 * The unit of packing is 16 rows by 64 bytes of the activations: two k-steps of the MMA, 64 columns beside 8-bit
 * activations and 32 beside 16-bit ones. Each lane finds its part of a unit in 16-byte loads.
 *
 * `C` is the host array of its codes.
 */
export interface WeightFormat<C extends Codes = Codes> {
  readonly name: string
  /** Bits of one code. */
  readonly bits: number
  /** Columns that share a second-level scale and minimum; 0 when a row has one scale alone. */
  readonly group: number
  /** Layout tag of the packed tensor. */
  readonly tag: string
  /** Columns of a unit: K must be a multiple, and of `group`. */
  readonly columns: number
  /** 16-byte loads of a lane for a unit. */
  readonly loads: number
  /** Position of the code of (row, column) in the packed tensor, in codes; rows are padded to a multiple of 16. */
  layout(N: number, K: number): Layout
  /** Packs codes [N, K] into words of shape `packedShape(format, N, K)`; padding rows hold code 0. */
  pack(codes: Codes, N: number, K: number): Uint32Array
  /** The inverse of `pack`. */
  unpack(words: Uint32Array, N: number, K: number): C
  /** The MMA instruction for activations of type `x`. */
  atom(x: 'i8' | 'f16' | 'bf16', zero: ZeroHandling): MmaAtom
  /**
   * Device: the A fragments of the two k-steps of a unit, four words each, from the `4 * loads` words of a lane.
   * `rows` are the parameters of the lane's upper and lower row, for formats that have any.
   */
  fragments(
    words: readonly u32[],
    rows: readonly RowParameters[],
    zero: ZeroHandling,
  ): readonly (readonly u32[])[]
  /** Host: the integer (for 16-bit formats the bits) that `fragments` makes of one code. */
  operand(code: number, row: { readonly scale: number; readonly offset: number }, zero: ZeroHandling): number
}

/** What K must be a multiple of: whole units, and whole groups where there are any. */
export const columnMultiple = (format: Pick<WeightFormat, 'columns' | 'group'>): number =>
  Math.max(format.columns, format.group)

/** Rows of a unit: those of the MMA. */
const UNIT_ROWS = 16

/** Shape of a packed weight matrix, in words: strips of 16 rows, units of the strip, words of the unit. */
export function packedShape(format: WeightFormat, N: number, K: number): [number, number, number] {
  return [Math.ceil(N / UNIT_ROWS), K / format.columns, format.loads * 128]
}
