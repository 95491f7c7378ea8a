import type { QuantizedMatrix } from '../../checkpoint/quantized-matrix.ts'
import type { HostTensor } from '../../checkpoint/tensor.ts'
import type { QuantizedFormatName, Zeros } from '../round-to-nearest.ts'

/** Numbers on the host: f32, or f64 from a backend that computes in f64. */
export type Values = Float32Array | Float64Array

/** A matrix of floats where a `Compute` keeps it, row-major. */
export interface Mat {
  readonly rows: number
  readonly columns: number
  /** Gives the memory back; of a view, nothing. */
  free(): void
}

/** The scales (and zero points or minima) of a quantized matrix, chosen and fixed; no codes. */
export interface Grid {
  readonly format: QuantizedFormatName
  readonly rows: number
  readonly columns: number
  free(): void
}

/** What the columns of a matrix hold, one number to a column. */
export interface ColumnStats {
  readonly absMax: Float32Array
  readonly mean: Float32Array
  /** The mean of magnitudes. */
  readonly meanAbs: Float32Array
  readonly min: Float32Array
  readonly max: Float32Array
}

export interface MultiplyOptions {
  readonly transposeA?: boolean
  readonly transposeB?: boolean
  /** Add to what `dst` holds. */
  readonly add?: boolean
  /** The operands may be rounded to bf16 before; for statistics, whose sums even that out. */
  readonly coarse?: boolean
}

/** How attention cuts the rows of its operands. Token t of a window sees the tokens up to t of the same window. */
export interface AttentionShape {
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  /** Tokens of a window; the rows are whole windows, one after the other. */
  readonly window: number
  /** What q·k is multiplied with. */
  readonly scale: number
  /** Only so many tokens are seen, the own one included; all earlier ones where it is left out. */
  readonly sliding?: number
}

/** A Hessian that is not positive definite even with its damping. */
export class NotPositiveDefinite extends Error {
  override readonly name = 'NotPositiveDefinite'
}

/**
 * The operations that quantization is made of, on matrices of f32 that lie on a host or a device. Passes call these and
 * never loop over weights. Operations run in the order of their calls; a promise without a value may resolve before
 * the work is done, one with a value resolves behind it. `dst` is written whole unless told otherwise, and may not
 * overlap an operand unless told otherwise. Shapes that do not fit throw `RangeError`.
 *
 * Sums over many terms are those of f64 or of f32 in a fixed order, so that a run repeats bit for bit.
 */
export interface Compute {
  /** What computes, for people. */
  readonly name: string
  /** The most bytes that matrices have taken at once. */
  readonly peakBytes: number

  /** Zeros. */
  allocate(rows: number, columns: number): Mat
  from(values: Values, rows: number, columns: number): Mat
  /** A tensor of one or two dimensions as floats; a vector is one row. */
  load(tensor: HostTensor): Promise<Mat>
  read(m: Mat): Promise<Values>
  /** The bits of the nearest f16 numbers, infinities where there are none near. */
  readHalfs(m: Mat): Promise<Uint16Array>
  /** The rows from `first` to `end`, which is not among them: a view. */
  rowsOf(m: Mat, first: number, end: number): Mat
  /** The same numbers in another shape: a view. */
  reshape(m: Mat, rows: number, columns: number): Mat
  copy(dst: Mat, src: Mat): Promise<void>

  /** dst[m, n] = op(a)·op(b), op being the transposition where it is asked for. */
  multiply(dst: Mat, a: Mat, b: Mat, options?: MultiplyOptions): Promise<void>
  /** dst[K, K] += xᵀ·diag(w)·x with x [T, K] and w [T, 1], 1 where left out. As `coarse` products, x may be rounded to bf16. */
  gram(dst: Mat, x: Mat, rowWeights?: Mat): Promise<void>
  transpose(dst: Mat, src: Mat): Promise<void>

  /** dst += factor · src; factor 1 where left out. */
  add(dst: Mat, src: Mat, factor?: number): Promise<void>
  /** Every row of m += factor · row, with row [1, columns]. */
  addRow(m: Mat, row: Mat, factor?: number): Promise<void>
  /** Row r of m times s[r], with s [rows, 1]. */
  scaleRows(m: Mat, s: Mat): Promise<void>
  /** Column c of m times s[c], with s [1, columns]. */
  scaleColumns(m: Mat, s: Mat): Promise<void>
  /** Row r of dst is row order[r] of src. */
  permuteRows(dst: Mat, src: Mat, order: Int32Array): Promise<void>
  /** Column c of dst is column order[c] of src. */
  permuteColumns(dst: Mat, src: Mat, order: Int32Array): Promise<void>
  /**
   * m·diag(signs)·H in place, with H the normalised Hadamard matrix (Sylvester's) of order `block`, a power of two, on
   * each run of `block` columns; signs [1, columns] of ±1.
   */
  hadamard(m: Mat, block: number, signs?: Mat): Promise<void>
  columnStats(m: Mat): Promise<ColumnStats>
  /** dst[rows, 1] = the mean square of each row. */
  rowMeanSquare(dst: Mat, m: Mat): Promise<void>
  diagonal(m: Mat): Promise<Float32Array>
  /** Σ a∘b over all elements. */
  dot(a: Mat, b: Mat): Promise<number>
  /** The index, row-major, of the first element that is not a finite number. */
  firstNonFinite(m: Mat): Promise<number | undefined>

  /** Row t of dst [ids, columns] is row ids[t] of the table: embeddings, and any choice of rows. */
  embed(dst: Mat, table: Mat, ids: Int32Array): Promise<void>
  /** dst = x / √(mean square of the row + epsilon) · gain, with gain [1, columns], 1 where null. `dst` may be `x`. */
  rmsNorm(dst: Mat, x: Mat, gain: Mat | null, epsilon: number): Promise<void>
  /**
   * Rotates the heads of m [T, heads · headDim] in place, row t by position t mod the rows of `cosSin`. A row of `cosSin`
   * [window, R] is R/2 cosines, then as many sines (`models/rope.ts`); columns i and i + R/2 of a head are a pair.
   */
  rotary(m: Mat, headDim: number, cosSin: Mat): Promise<void>
  /** Causal attention within windows: dst, q [T, heads · headDim], k, v [T, kvHeads · headDim]. */
  attention(dst: Mat, q: Mat, k: Mat, v: Mat, shape: AttentionShape): Promise<void>
  /** dst = silu(gate) ∘ up. `dst` may be either. */
  siluMul(dst: Mat, gate: Mat, up: Mat): Promise<void>
  /** −log softmax(logits[t])[targets[t]] of each row. */
  crossEntropy(logits: Mat, targets: Int32Array): Promise<Float32Array>

  /** Each element becomes the nearest number of a 16-bit type. */
  roundFloats(m: Mat, type: 'f16' | 'bf16'): Promise<void>
  /** Each row becomes what its int8 codes stand for (`kernels/quantize-rows.ts`). */
  fakeQuantizeRows(m: Mat): Promise<void>
  /**
   * Each head of a row becomes what its codes in the key/value cache stand for (`kernels/formats/kv-affine.ts`).
   * With a ratio, values are clamped to that part of their range, which includes 0, before.
   */
  fakeQuantizeHeads(m: Mat, headDim: number, bits: 4 | 8, ratio?: number): Promise<void>

  /**
   * The grid of round-to-nearest (`round-to-nearest.ts`, with its roundings) for the weights [N, K] clamped to `ratios`
   * times their range. Ratios are [N, K / group], or [N, 1]; a range is that of the row, or of the group where there is a
   * ratio to a group, and includes 0; of symmetric formats and of a two-level row it is ±max|w|. `zeros` says how minima of two-level groups are
   * chosen. Throws `QuantizeError`.
   */
  fitGrid(w: Mat, format: QuantizedFormatName, ratios?: Mat, zeros?: Zeros): Promise<Grid>
  /** dst = the nearest weights that the grid has. `dst` may be `w`. */
  snap(dst: Mat, w: Mat, grid: Grid): Promise<void>
  /** The codes and scales on the host, as round-to-nearest gives them. */
  encode(w: Mat, grid: Grid): Promise<QuantizedMatrix>
  /**
   * For each row and group the ratio, of those listed, with the least Δ·G·Δᵀ, Δ being w − snapped w and G the block of
   * `gram` [K, K] that belongs to the group's columns; the earlier ratio where two are equal. Formats without groups: the
   * whole row with the whole gram, ratios [N, 1]. Two-level formats: level-1 scales are those of the unclipped row.
   */
  searchClip(
    w: Mat,
    gram: Mat,
    format: QuantizedFormatName,
    ratios: readonly number[],
    zeros?: Zeros,
  ): Promise<Mat>
  /**
   * The upper triangular U, zeros below, with (h + damping·mean(diag h)·I)⁻¹ = Uᵀ·U; h [K, K] symmetric. A diagonal
   * element of 0 counts as 1 (an input that never occurs). Throws `NotPositiveDefinite`; the caller then raises the damping.
   */
  cholesky(h: Mat, damping: number): Promise<Mat>
  /**
   * GPTQ: w becomes weights of the grid, column after column; the error of each, divided by U's diagonal element, is
   * taken off the later columns in proportion to U's row. With `order`, column j of the recursion is column order[j] of w
   * and of the grid, and U is of the Hessian permuted alike; w keeps its own order. `block` columns at a time (128).
   */
  gptq(
    w: Mat,
    u: Mat,
    grid: Grid,
    options?: { readonly order?: Int32Array; readonly block?: number },
  ): Promise<void>

  /** Gives everything back. */
  free(): Promise<void>
}
