import type { QuantizedMatrix } from '../checkpoint/quantized-matrix.ts'
import { f16Bits, f16Value } from '../dsl/half.ts'
import { roundHalfEven } from '../dsl/math.ts'
import { QuantizeError } from './error.ts'
import type { Matrix } from './matrix.ts'

export type QuantizedFormatName =
  | 'w4a8'
  | 'w4a8-g128'
  | 'w4a8-g64'
  | 'w4a8-g32'
  | 'w4a16-g128'
  | 'w4a16-g64'
  | 'w4a16-g32'
  | 'w8a8'

/** How one number format quantizes a row: choose the scales, then the codes; or take the codes back to weights. */
export interface RowGrid {
  allocate(matrix: Matrix): QuantizedMatrix
  /** Sets the scales (and zero point or minima) of row `n` for the range of its weights. */
  fit(dst: QuantizedMatrix, n: number, row: Float32Array, name: string): void
  /** Two-level formats: what belongs to groups, under the scale that row `n` has. */
  fitGroups?(dst: QuantizedMatrix, n: number, row: Float32Array): void
  /** Sets the codes of row `n` under its scales. */
  encode(dst: QuantizedMatrix, n: number, row: Float32Array): void
  /** The weights that row `n` stands for. */
  decode(dst: Float32Array, src: QuantizedMatrix, n: number): void
  /** The weight nearest to `w` that the scales allow in row `n`, column `k`. */
  snap(src: QuantizedMatrix, n: number, k: number, w: number): number
}

/** Bound of level-1 codes of two-level weights. */
export const LEVEL1_BOUND = 119

const clamp = (x: number, low: number, high: number): number => Math.min(Math.max(x, low), high)
const nearest = (x: number, scale: number): number => roundHalfEven(Math.fround(x / scale))

/** The f16 bits of a scale; zero, also by underflow, becomes one. */
function scaleBits(scale: number, name: string, n: number): number {
  const bits = f16Bits(scale)
  if (bits === 0x7c00)
    throw new QuantizeError(
      `tensor ${name} needs a scale of ${scale} in row ${n}, which f16 cannot hold; keep this model in bf16`,
    )
  return bits === 0 ? 0x3c00 : bits
}

function largestMagnitude(row: Float32Array): number {
  let largest = 0
  for (const value of row) largest = Math.max(largest, Math.abs(value))
  return largest
}

const w8a8: RowGrid = {
  allocate: ({ rows, columns }) => ({
    rows,
    columns,
    codes: new Int8Array(rows * columns),
    scale: new Uint16Array(rows),
  }),
  fit(dst, n, row, name) {
    dst.scale[n] = scaleBits(largestMagnitude(row) / 127, name, n)
  },
  encode({ codes, scale, columns }, n, row) {
    const s = f16Value(scale[n]!)
    for (let k = 0; k < columns; k++) codes[n * columns + k] = clamp(nearest(row[k]!, s), -127, 127)
  },
  decode(dst, { codes, scale, columns }, n) {
    const s = f16Value(scale[n]!)
    for (let k = 0; k < columns; k++) dst[k] = s * codes[n * columns + k]!
  },
  snap({ scale }, n, _, w) {
    const s = f16Value(scale[n]!)
    return s * clamp(nearest(w, s), -127, 127)
  },
}

const w4a8: RowGrid = {
  allocate: ({ rows, columns }) => ({
    rows,
    columns,
    codes: new Uint8Array(rows * columns),
    scale: new Uint16Array(rows),
    zero: new Uint8Array(rows),
  }),
  fit(dst, n, row, name) {
    let min = 0
    let max = 0
    for (const value of row) {
      min = Math.min(min, value)
      max = Math.max(max, value)
    }
    dst.scale[n] = scaleBits((max - min) / 15, name, n)
    dst.zero![n] = clamp(nearest(-min, f16Value(dst.scale[n]!)), 0, 15)
  },
  encode({ codes, scale, zero, columns }, n, row) {
    const s = f16Value(scale[n]!)
    const z = zero![n]!
    for (let k = 0; k < columns; k++) codes[n * columns + k] = clamp(nearest(row[k]!, s) + z, 0, 15)
  },
  decode(dst, { codes, scale, zero, columns }, n) {
    const s = f16Value(scale[n]!)
    for (let k = 0; k < columns; k++) dst[k] = s * (codes[n * columns + k]! - zero![n]!)
  },
  snap({ scale, zero }, n, _, w) {
    const s = f16Value(scale[n]!)
    return s * (clamp(nearest(w, s) + zero![n]!, 0, 15) - zero![n]!)
  },
}

/** A matrix of groups as one of rows of `group` columns: what quantizes a row alone quantizes each group alone. */
const grouped = (row: RowGrid, group: number): RowGrid => {
  const groups = (of: { readonly columns: number }): number => of.columns / group
  const asRows = (of: QuantizedMatrix): QuantizedMatrix => ({
    ...of,
    rows: of.rows * groups(of),
    columns: group,
  })
  const each = (values: Float32Array, visit: (part: Float32Array, g: number) => void): void => {
    for (let g = 0; g * group < values.length; g++) visit(values.subarray(g * group, (g + 1) * group), g)
  }
  return {
    allocate(matrix) {
      checkGroups(matrix, group)
      const { rows, columns } = matrix
      return { ...row.allocate({ ...matrix, rows: rows * groups(matrix), columns: group }), rows, columns }
    },
    fit(dst, n, values, name) {
      const to = asRows(dst)
      each(values, (part, g) => row.fit(to, n * groups(dst) + g, part, name))
    },
    encode(dst, n, values) {
      const to = asRows(dst)
      each(values, (part, g) => row.encode(to, n * groups(dst) + g, part))
    },
    decode(dst, src, n) {
      const from = asRows(src)
      each(dst, (part, g) => row.decode(part, from, n * groups(src) + g))
    },
    snap: (src, n, k, w) => row.snap(asRows(src), n * groups(src) + Math.floor(k / group), k % group, w),
  }
}

function checkGroups({ name, columns }: Matrix, group: number): void {
  if (columns % group !== 0)
    throw new QuantizeError(
      `tensor ${name} has ${columns} columns, not a multiple of ${group}; quantize this model with one scale per row`,
    )
}

/** The second-level scale of a group whose level-1 codes lie from `min` to `max`: 1 to 16. */
export const groupStep = (min: number, max: number): number => Math.max(1, roundHalfEven((max - min) / 15))

/** The 4-bit code of a level-1 code. It stands for `min + step · code`. */
export const groupCode = (level1: number, min: number, step: number): number =>
  clamp(roundHalfEven((level1 - min) / step), 0, 15)

const level1Code = (w: number, scale: number): number => clamp(nearest(w, scale), -LEVEL1_BOUND, LEVEL1_BOUND)

/**
 * How minima of the groups of two-level formats are chosen, where it is not freely: so many steps below 0 as a zero point of
 * 4 bits says, which some engines want. 0 is then kept exactly.
 */
export type Zeros = 'integer'

/** Two levels, with a second-level scale and minimum for `group` columns. */
const w4a8Group = (group: number, zeros?: Zeros): RowGrid => ({
  allocate(matrix) {
    checkGroups(matrix, group)
    const { rows, columns } = matrix
    return {
      rows,
      columns,
      codes: new Uint8Array(rows * columns),
      scale: new Uint16Array(rows),
      groupScale: new Uint8Array((rows * columns) / group),
      groupMin: new Int8Array((rows * columns) / group),
    }
  },
  fit(dst, n, row, name) {
    dst.scale[n] = scaleBits(largestMagnitude(row) / LEVEL1_BOUND, name, n)
    this.fitGroups!(dst, n, row)
  },
  fitGroups(dst, n, row) {
    const s = f16Value(dst.scale[n]!)
    for (let start = 0; start < row.length; start += group) {
      let min = zeros ? 0 : LEVEL1_BOUND
      let max = zeros ? 0 : -LEVEL1_BOUND
      for (let k = start; k < start + group; k++) {
        const w8 = level1Code(row[k]!, s)
        min = Math.min(min, w8)
        max = Math.max(max, w8)
      }
      const at = (n * row.length + start) / group
      const step = groupStep(min, max)
      dst.groupScale![at] = step
      dst.groupMin![at] = zeros ? -step * clamp(roundHalfEven(-min / step), 0, 15) : min
    }
  },
  encode({ codes, scale, groupScale, groupMin, columns }, n, row) {
    const s = f16Value(scale[n]!)
    for (let k = 0; k < columns; k++) {
      const at = Math.floor((n * columns + k) / group)
      codes[n * columns + k] = groupCode(level1Code(row[k]!, s), groupMin![at]!, groupScale![at]!)
    }
  },
  decode(dst, { codes, scale, groupScale, groupMin, columns }, n) {
    const s = f16Value(scale[n]!)
    for (let k = 0; k < columns; k++) {
      const at = Math.floor((n * columns + k) / group)
      dst[k] = s * (codes[n * columns + k]! * groupScale![at]! + groupMin![at]!)
    }
  },
  snap({ scale, groupScale, groupMin, columns }, n, k, w) {
    const s = f16Value(scale[n]!)
    const at = Math.floor((n * columns + k) / group)
    const [step, min] = [groupScale![at]!, groupMin![at]!]
    return s * (groupCode(level1Code(w, s), min, step) * step + min)
  },
})

/**
 * The grids of round-to-nearest by the name of their format: every weight takes the nearest code of a grid that the range of its
 * row, or group, fixes.
 *
 *   w8a8        s = fp16(max|w| / 127)                         q = clamp(rni(w / s), −127, 127)
 *   w4a8        s = fp16((max − min) / 15), ranges include 0   q = clamp(rni(w / s) + z, 0, 15), z = rni(−min / s)
 *   w4a16-g…    as w4a8, for each group
 *   w4a8-g…     s = fp16(max|w| / 119)                         w8 = rni(clamp(w / s, −119, 119))
 *               s2 = max(1, rni((max w8 − min w8) / 15))       q = clamp(rni((w8 − min w8) / s2), 0, 15)
 *
 * Quotients are those of f32, so that a GPU can repeat them. Scales are rounded to fp16 before codes are taken, since
 * the kernels will multiply by the rounded ones; a scale of 0 becomes 1. The bound 119 keeps q · s2 + min in a signed
 * byte for every group; with integer zeros as well, where min w8 and max w8 include 0 and min w8 becomes
 * −s2 · clamp(rni(−min w8 / s2), 0, 15). Source: QServe (arXiv 2405.04532), section 4.1.
 */
export const rowGrids: Readonly<Record<QuantizedFormatName, RowGrid>> = {
  w4a8,
  'w4a8-g128': w4a8Group(128),
  'w4a8-g64': w4a8Group(64),
  'w4a8-g32': w4a8Group(32),
  'w4a16-g128': grouped(w4a8, 128),
  'w4a16-g64': grouped(w4a8, 64),
  'w4a16-g32': grouped(w4a8, 32),
  w8a8,
}

const integerZeros: Readonly<Partial<Record<QuantizedFormatName, RowGrid>>> = {
  'w4a8-g128': w4a8Group(128, 'integer'),
  'w4a8-g64': w4a8Group(64, 'integer'),
  'w4a8-g32': w4a8Group(32, 'integer'),
}

/** The grid of a format whose minima are chosen so. */
export const rowGridOf = (format: QuantizedFormatName, zeros: Zeros | undefined): RowGrid =>
  (zeros && integerZeros[format]) ?? rowGrids[format]

/** The weights that a quantized matrix stands for, [rows, columns]. */
export function dequantize(src: QuantizedMatrix, format: QuantizedFormatName): Float32Array {
  const { rows, columns } = src
  const values = new Float32Array(rows * columns)
  for (let n = 0; n < rows; n++)
    rowGrids[format].decode(values.subarray(n * columns, (n + 1) * columns), src, n)
  return values
}
