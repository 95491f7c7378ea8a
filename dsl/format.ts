import { fragmentOrder } from './atoms/fragment-order.ts'
import { type MmaAtom, mma } from './atoms/mma.ts'
import type { WgmmaTypes } from './atoms/wgmma.ts'
import type { Layout } from './layout/index.ts'
import { concat, layout, mode } from './layout/index.ts'
import type { u32 } from './scalars.ts'

/** Where a zero point is subtracted: in registers before the MMA, or once after the whole product as `− z · Σx`. */
export type ZeroHandling = 'epilogue' | 'register'

/** The element types of activations that a format may stand beside. */
export type OperandType = 'i8' | 'f16' | 'bf16' | 'e4m3'

/** The codes of a weight matrix on the host, one to an element, [N, K] row-major; 16-bit and 8-bit floats by their bits. */
export type Codes = Uint8Array | Int8Array | Uint16Array

/** What is packed: the codes and, in formats with groups, arrays of parameters, [N, K / group] row-major. */
export interface WeightParts {
  readonly codes: Codes
}

/** An element of a weight matrix of K columns. */
export interface WeightIndex {
  readonly n: number
  readonly k: number
  readonly K: number
}

/**
 * A number format of weights that a tensor-core GEMM reads in fragment order, as the A operand of D = W·Xᵀ.
 *
 * The unit of packing is 64 rows by 128 columns, contiguous, the units of 64 rows following each other along the columns.
 * A warpgroup of `wgmma` reads a unit as it lies; warp w of it has rows 16w to 16w + 15, which are the unit for
 * `mma.sync`. In a unit come
 *
 * - the codes, `[load][thread of the warpgroup][4 words]`: a thread finds its part in 16-byte loads, each of which holds
 *   the A registers of `steps / loads` k-steps;
 * - in formats with groups their parameters, `[group of the unit][8 · warp + lane / 4][groupWords]`: the words of rows
 *   g = lane / 4 and g + 8 of the warp's 16.
 *
 * Rows and columns past the matrix hold code 0 and parameters that make finite weights. Rows past N are not stored by the
 * kernel; columns past K must meet activations of 0, which copies of tiles give past the end of a row.
 *
 * `P` is what it packs.
 */
export interface WeightFormat<P extends WeightParts = WeightParts> {
  readonly name: string
  /** Bits of one code. */
  readonly bits: number
  /** Columns that share parameters in the unit: 32, 64 or 128; 0 when a row has one scale alone. */
  readonly group: number
  /** Layout tag of the packed tensor. */
  readonly tag: string
  /** The activations that it may stand beside. */
  readonly activations: readonly OperandType[]
  /** 16-byte loads of a thread for a unit. */
  readonly loads: number
  /** k-steps of a unit: 32 bytes of activations each. */
  readonly steps: number
  /** Words of the parameters of two rows of a group: 0, 1 or 2. */
  readonly groupWords: number
  /**
   * Position of the code of (row, column) in the packed tensor, counted in codes, lowest bits first; rows and columns are
   * padded to whole units.
   */
  layout(N: number, K: number): Layout
  /** For formats that rearrange the bits of a word: the word in which the codes lie as `layout` says. */
  readonly plain?: (word: number) => number
  /**
   * Packs [N, K] into words of shape `packedShape(format, N, K)`.
   * @throws RangeError if K or a parameter does not fit, saying what to do.
   */
  pack(parts: P, N: number, K: number): Uint32Array
  /** The inverse of `pack`. */
  unpack(words: Uint32Array, N: number, K: number): P
  /** Operand types of the MMA, A first. */
  types(x: OperandType, zero: ZeroHandling): WgmmaTypes
  /**
   * Device: the A registers, four to a k-step, of the `steps / loads` k-steps that one 16-byte load holds.
   *
   * `group` are the words of the groups that the load's columns belong to, `groupWords` each, in order: those at
   * `groupOffset(format, load, …)`. A format without groups that subtracts zero points in registers says itself what it
   * takes there.
   */
  fragments(
    words: readonly u32[],
    group: readonly u32[],
    zero: ZeroHandling,
    x: OperandType,
  ): readonly (readonly u32[])[]
  /** Host: what `fragments` makes of one code: the integer, or the bits of the float. */
  operand(parts: P, at: WeightIndex, zero: ZeroHandling, x: OperandType): number
}

/** Rows and columns of a unit. */
export const unitRows = 64
export const unitColumns = 128

/** Words that the threads of a warpgroup load at once. */
const LOAD_WORDS = 512
/** Pairs of rows (g and g + 8 of each warp) of a unit. */
const ROW_PAIRS = 32

type Shape = Pick<WeightFormat, 'loads' | 'group' | 'groupWords'>

/** Groups of a unit; 0 where there are none. */
export const unitGroups = (format: Shape): number => (format.group > 0 ? unitColumns / format.group : 0)

/** Words of the codes of a unit. */
export const unitCodeWords = (format: Pick<Shape, 'loads'>): number => format.loads * LOAD_WORDS

/** Words of the groups of a unit, behind its codes. */
export const unitGroupWords = (format: Shape): number => unitGroups(format) * ROW_PAIRS * format.groupWords

/** Words of a unit. */
export const unitWords = (format: Shape): number => unitCodeWords(format) + unitGroupWords(format)

/** Columns of one 16-byte load. */
export const loadColumns = (format: Shape): number => unitColumns / format.loads

/** Groups that the columns of one load belong to; 0 where there are none. */
export const loadGroups = (format: Shape): number =>
  format.group > 0 ? Math.max(1, loadColumns(format) / format.group) : 0

/** The first of the groups that load number `load` of a unit belongs to. */
export const groupOfLoad = (format: Shape, load: number): number =>
  Math.floor((load * loadColumns(format)) / format.group)

/** Where in a unit the thread's words of load number `load` begin; `thread` counts through the warpgroup. */
export const loadOffset = (load: number, thread: number): number => load * LOAD_WORDS + 4 * thread

/** Where in a unit the words of a group begin, for the rows g and g + 8 of a warp: `pair` = 8 · warp + g. */
export const groupOffset = (format: Shape, group: number, pair: number): number =>
  unitCodeWords(format) + (group * ROW_PAIRS + pair) * format.groupWords

/** Shape of a packed weight matrix: strips of 64 rows, units of the strip, words of the unit. */
export function packedShape(format: Shape, N: number, K: number): [number, number, number] {
  return [Math.ceil(N / unitRows), Math.ceil(K / unitColumns), unitWords(format)]
}

/** 16-byte copies of activations hold whole rows of that many elements, whatever their type. */
const COPY_COLUMNS = 16

/** What K must be a multiple of: whole groups, and rows of activations that copies of 16 bytes fill. */
export const columnMultiple = (format: Pick<WeightFormat, 'group'>): number =>
  Math.max(COPY_COLUMNS, format.group)

/**
 * (row, column) → position of its code in packed units: `fragmentOrder` within a unit, and the units along the columns,
 * then along the rows. `atom` is an MMA whose A elements are as wide as the format's operand.
 */
export function unitOrder(
  format: Shape & Pick<WeightFormat, 'bits'>,
  atom: MmaAtom,
  N: number,
  K: number,
): Layout {
  const [strips, units, words] = packedShape(format, N, K)
  const unit = fragmentOrder(atom, unitRows, unitColumns, format.bits, unitRows)
  const codes = (words * 32) / format.bits
  return concat(
    concat(mode(unit, 0), layout(strips, units * codes)),
    concat(mode(unit, 1), layout(units, codes)),
  )
}

/** The warp-wide MMA of operand types; `undefined` for 8-bit floats, which only `wgmma` multiplies here. */
export const mmaOfTypes = (types: WgmmaTypes): MmaAtom | undefined =>
  (({ ...mma.m16n8k32, ...mma.m16n8k16 }) as Partial<Record<WgmmaTypes, MmaAtom>>)[types]
