import type { QuantizedMatrix } from '../../checkpoint/quantized-matrix.ts'
import { type WeightFormat, weightFormats } from '../../kernels/formats/index.ts'
import { type QuantizedFormatName, rowGridOf, rowGrids, type Zeros } from '../round-to-nearest.ts'
import { type Grid, NotPositiveDefinite } from './compute.ts'
import { clampToRange } from './host-forward.ts'
import type { HostMat } from './host-mat.ts'

/** Rounding of weights on the host; `Compute` says what the operations do. */

/** The scales of a matrix; its codes are scratch. */
export class HostGrid implements Grid {
  readonly format: QuantizedFormatName
  readonly matrix: QuantizedMatrix

  constructor(format: QuantizedFormatName, rows: number, columns: number) {
    this.format = format
    this.matrix = rowGrids[format].allocate({ name, rows, columns, values: new Float32Array() })
  }

  get rows(): number {
    return this.matrix.rows
  }

  get columns(): number {
    return this.matrix.columns
  }

  free(): void {
    // The garbage collector's.
  }
}

/** What errors call a matrix, whose tensor is not known here. */
const name = 'of weights'

export function hostGrid(grid: Grid): HostGrid {
  if (grid instanceof HostGrid) return grid
  throw new TypeError('a grid of another backend was given to HostCompute')
}

/** A row as the grids take it. */
const floatRow = (w: HostMat, n: number): Float32Array => {
  const row = w.row(n)
  return row instanceof Float32Array ? row : Float32Array.from(row)
}

const isSymmetric = (format: QuantizedFormatName): boolean => format === 'w8a8'

/** The weights of a row clamped to their ratios: one for the row, or one for each group. */
function clampRow(row: Float32Array, format: QuantizedFormatName, ratios: ArrayLike<number>): Float32Array {
  const part = row.length / ratios.length
  const clamped = new Float32Array(row.length)
  for (let g = 0; g < ratios.length; g++) {
    const values = row.subarray(g * part, (g + 1) * part)
    const twoLevelRow = ratios.length === 1 && rowGrids[format].fitGroups !== undefined
    clamped.set(
      isSymmetric(format) || twoLevelRow
        ? clampToMagnitude(values, ratios[g]!)
        : clampToRange(values, ratios[g]!),
      g * part,
    )
  }
  return clamped
}

function clampToMagnitude(values: Float32Array, ratio: number): Float32Array {
  let most = 0
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!))
  const bound = Math.fround(ratio * most)
  const clamped = new Float32Array(values.length)
  for (let i = 0; i < values.length; i++) clamped[i] = Math.min(Math.max(values[i]!, -bound), bound)
  return clamped
}

export function fitGrid(w: HostMat, format: QuantizedFormatName, ratios?: HostMat, zeros?: Zeros): HostGrid {
  const rule = rowGridOf(format, zeros)
  const grid = new HostGrid(format, w.rows, w.columns)
  for (let n = 0; n < w.rows; n++) {
    const row = floatRow(w, n)
    rule.fit(grid.matrix, n, ratios ? clampRow(row, format, ratios.row(n)) : row, name)
  }
  return grid
}

export function snap(dst: HostMat, w: HostMat, { format, matrix }: HostGrid): void {
  const decoded = new Float32Array(w.columns)
  for (let n = 0; n < w.rows; n++) {
    rowGrids[format].encode(matrix, n, floatRow(w, n))
    rowGrids[format].decode(decoded, matrix, n)
    dst.row(n).set(decoded)
  }
}

export function encode(w: HostMat, { format, matrix }: HostGrid): QuantizedMatrix {
  for (let n = 0; n < w.rows; n++) rowGrids[format].encode(matrix, n, floatRow(w, n))
  return { ...matrix, codes: matrix.codes.slice() }
}

/** Ratios [N, K / group], or [N, 1]. */
export function searchClip(
  w: HostMat,
  gram: HostMat,
  format: QuantizedFormatName,
  ratios: readonly number[],
  zeros?: Zeros,
): { readonly ratios: Float32Array; readonly columns: number } {
  const group = (weightFormats[format] as WeightFormat).group || w.columns
  const groups = w.columns / group
  const best = new Float32Array(w.rows * groups)
  const grid = rowGridOf(format, zeros)
  const { matrix } = new HostGrid(format, 1, w.columns)
  const blocks = Array.from({ length: groups }, (_, g) => gramBlock(gram, g * group, group))
  const decoded = new Float32Array(w.columns)
  // What each ratio leaves of a row, [ratios, columns], rounded up to whole fours.
  const errors = new Float64Array(Math.ceil(ratios.length / 4) * 4 * w.columns)
  const losses = new Float64Array(Math.ceil(ratios.length / 4) * 4)
  for (let n = 0; n < w.rows; n++) {
    const row = floatRow(w, n)
    grid.fit(matrix, 0, row, name)
    for (const [r, ratio] of ratios.entries()) {
      const clamped = clampRow(row, format, new Array<number>(groups).fill(Math.fround(ratio)))
      if (grid.fitGroups) grid.fitGroups(matrix, 0, clamped)
      else grid.fit(matrix, 0, clamped, name)
      grid.encode(matrix, 0, row)
      grid.decode(decoded, matrix, 0)
      for (let k = 0; k < w.columns; k++) errors[r * w.columns + k] = row[k]! - decoded[k]!
    }
    for (let g = 0; g < groups; g++) {
      for (let r = 0; r < ratios.length; r += 4)
        quadraticForms(losses, errors, r, w.columns, g * group, blocks[g]!, group)
      let least = 0
      for (let r = 1; r < ratios.length; r++) if (losses[r]! < losses[least]!) least = r
      best[n * groups + g] = ratios[least]!
    }
  }
  return { ratios: best, columns: groups }
}

/** A square of a Gram matrix around its diagonal. */
function gramBlock(gram: HostMat, first: number, size: number): Float64Array {
  const block = new Float64Array(size * size)
  for (let i = 0; i < size; i++) block.set(gram.row(first + i).subarray(first, first + size), i * size)
  return block
}

/** dst[r] = Σ Δᵢ·Gᵢⱼ·Δⱼ of four rows of Δ from r on, in the columns that belong to the block. G is symmetric. */
function quadraticForms(
  dst: Float64Array,
  delta: Float64Array,
  r: number,
  columns: number,
  first: number,
  block: Float64Array,
  size: number,
): void {
  const a = r * columns + first
  const [b, c, d] = [a + columns, a + 2 * columns, a + 3 * columns]
  let [t0, t1, t2, t3] = [0, 0, 0, 0]
  for (let i = 0; i < size; i++) {
    let [s0, s1, s2, s3] = [0, 0, 0, 0]
    for (let j = i + 1; j < size; j++) {
      const g = block[i * size + j]!
      s0 += g * delta[a + j]!
      s1 += g * delta[b + j]!
      s2 += g * delta[c + j]!
      s3 += g * delta[d + j]!
    }
    const g = block[i * size + i]!
    const [x0, x1, x2, x3] = [delta[a + i]!, delta[b + i]!, delta[c + i]!, delta[d + i]!]
    t0 += x0 * (g * x0 + 2 * s0)
    t1 += x1 * (g * x1 + 2 * s1)
    t2 += x2 * (g * x2 + 2 * s2)
    t3 += x3 * (g * x3 + 2 * s3)
  }
  dst[r] = t0
  dst[r + 1] = t1
  dst[r + 2] = t2
  dst[r + 3] = t3
}

/**
 * U with (h + damping)⁻¹ = Uᵀ·U: h is taken apart from its last column on, as R·Rᵀ with R upper triangular, and U is R⁻¹.
 */
export function inverseCholesky(h: HostMat, damping: number): Float64Array {
  const K = h.rows
  const r = Float64Array.from(h.values)
  let mean = 0
  for (let i = 0; i < K; i++) {
    if (r[i * K + i] === 0) r[i * K + i] = 1
    mean += r[i * K + i]! / K
  }
  for (let i = 0; i < K; i++) r[i * K + i]! += damping * mean
  for (let j = K - 1; j >= 0; j--) {
    const column = j * K
    // Rows of R: R[i][j] = (h[i][j] − Σ_{k>j} R[i][k]·R[j][k]) / R[j][j].
    for (let i = j; i >= 0; i--) {
      let sum = r[i * K + j]!
      for (let k = j + 1; k < K; k++) sum -= r[i * K + k]! * r[column + k]!
      if (i === j) {
        if (!(sum > 0) || sum === Number.POSITIVE_INFINITY)
          throw new NotPositiveDefinite(`the Hessian is not positive definite at column ${j} of ${K}`)
        r[column + j] = Math.sqrt(sum)
      } else r[i * K + j] = sum / r[column + j]!
    }
  }
  return invertUpper(r, K)
}

/** The inverse of an upper triangular matrix; what lies below the diagonal is not read. */
function invertUpper(r: Float64Array, K: number): Float64Array {
  const u = new Float64Array(K * K)
  for (let i = K - 1; i >= 0; i--) {
    const diagonal = 1 / r[i * K + i]!
    const row = u.subarray(i * K, (i + 1) * K)
    for (let k = i + 1; k < K; k++) {
      const factor = r[i * K + k]!
      if (factor === 0) continue
      const below = u.subarray(k * K, (k + 1) * K)
      for (let j = k; j < K; j++) row[j]! -= factor * below[j]!
    }
    for (let j = i + 1; j < K; j++) row[j]! *= diagonal
    row[i] = diagonal
  }
  return u
}

export function gptq(w: HostMat, u: HostMat, { format, matrix }: HostGrid, order?: Int32Array): void {
  const grid = rowGrids[format]
  const K = w.columns
  const row = new Float64Array(K)
  for (let n = 0; n < w.rows; n++) {
    const weights = w.row(n)
    for (let j = 0; j < K; j++) row[j] = weights[order ? order[j]! : j]!
    for (let j = 0; j < K; j++) {
      const column = order ? order[j]! : j
      const snapped = grid.snap(matrix, n, column, row[j]!)
      weights[column] = snapped
      const error = (row[j]! - snapped) / u.values[j * K + j]!
      for (let i = j + 1; i < K; i++) row[i]! -= error * u.values[j * K + i]!
    }
  }
}
