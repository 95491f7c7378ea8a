import type { QuantizedMatrix } from '../../checkpoint/quantized-matrix.ts'
import { type HostTensor, widen } from '../../checkpoint/tensor.ts'
import { f16FromF32, halves } from '../../dsl/half.ts'
import type { QuantizedFormatName, Zeros } from '../round-to-nearest.ts'
import type { AttentionShape, ColumnStats, Compute, Grid, Mat, MultiplyOptions, Values } from './compute.ts'
import * as forward from './host-forward.ts'
import { checkShape, HostMat, hostMat, rowProducts, transposeInto } from './host-mat.ts'
import * as weights from './host-weights.ts'

/**
 * `Compute` on plain arrays: for small models without a GPU, and what other backends are tested against. Numbers are
 * stored as f32 and summed in f64; `f64` stores them as f64, too, so that tests tell rounding from faults.
 */
export class HostCompute implements Compute {
  readonly name = 'host'
  readonly #make: (length: number) => Values
  readonly #bytes: number
  #taken = 0
  #peak = 0

  constructor(stored: 'f32' | 'f64' = 'f32') {
    this.#make =
      stored === 'f32' ? (length) => new Float32Array(length) : (length) => new Float64Array(length)
    this.#bytes = stored === 'f32' ? 4 : 8
  }

  get peakBytes(): number {
    return this.#peak
  }

  allocate(rows: number, columns: number): HostMat {
    const values = this.#make(rows * columns)
    const bytes = values.length * this.#bytes
    this.#taken += bytes
    this.#peak = Math.max(this.#peak, this.#taken)
    let freed = false
    return new HostMat(values, rows, columns, () => {
      if (!freed) this.#taken -= bytes
      freed = true
    })
  }

  from(values: Values, rows: number, columns: number): HostMat {
    if (values.length !== rows * columns)
      throw new RangeError(`${values.length} values do not make a matrix of ${rows} × ${columns}`)
    const mat = this.allocate(rows, columns)
    mat.values.set(values)
    return mat
  }

  async load(tensor: HostTensor): Promise<HostMat> {
    const [rows, columns] =
      tensor.shape.length === 1 ? [1, tensor.shape[0]!] : (tensor.shape as [number, number])
    return this.from(widen(tensor), rows, columns)
  }

  async read(m: Mat): Promise<Values> {
    return hostMat(m).values.slice()
  }

  async readHalfs(m: Mat): Promise<Uint16Array> {
    return f16FromF32(Float32Array.from(hostMat(m).values))
  }

  rowsOf(m: Mat, first: number, end: number): HostMat {
    const { values, columns } = hostMat(m)
    return new HostMat(values.subarray(first * columns, end * columns), end - first, columns)
  }

  reshape(m: Mat, rows: number, columns: number): HostMat {
    return new HostMat(hostMat(m).values, rows, columns)
  }

  async copy(dst: Mat, src: Mat): Promise<void> {
    checkShape('the source', src, dst.rows, dst.columns)
    hostMat(dst).values.set(hostMat(src).values)
  }

  async multiply(dst: Mat, a: Mat, b: Mat, options: MultiplyOptions = {}): Promise<void> {
    const left = options.transposeA ? this.#transposed(a) : hostMat(a)
    const right = options.transposeB ? hostMat(b) : this.#transposed(b)
    checkShape('the right operand, transposed,', right, right.rows, left.columns)
    checkShape('the result', dst, left.rows, right.rows)
    rowProducts(hostMat(dst), left, right, options.add ?? false)
  }

  async gram(dst: Mat, x: Mat, rowWeights?: Mat): Promise<void> {
    const K = x.columns
    checkShape('the gram matrix', dst, K, K)
    const plain = this.#transposed(x)
    let weighted = plain
    if (rowWeights) {
      checkShape('the column of weights', rowWeights, x.rows, 1)
      const w = hostMat(rowWeights).values
      weighted = new HostMat(
        plain.values.map((value, i) => value * w[i % x.rows]!),
        K,
        x.rows,
      )
    }
    const to = hostMat(dst)
    rowProducts(to, weighted, plain, true, (row) => row)
    for (let i = 0; i < K; i++) for (let j = 0; j < i; j++) to.values[i * K + j] = to.values[j * K + i]!
  }

  async transpose(dst: Mat, src: Mat): Promise<void> {
    checkShape('the result', dst, src.columns, src.rows)
    transposeInto(hostMat(dst), hostMat(src))
  }

  async add(dst: Mat, src: Mat, factor = 1): Promise<void> {
    checkShape('the source', src, dst.rows, dst.columns)
    const [to, from] = [hostMat(dst).values, hostMat(src).values]
    for (let i = 0; i < to.length; i++) to[i]! += factor * from[i]!
  }

  async addRow(m: Mat, row: Mat, factor = 1): Promise<void> {
    checkShape('the row', row, 1, m.columns)
    const [to, from] = [hostMat(m).values, hostMat(row).values]
    for (let i = 0; i < to.length; i++) to[i]! += factor * from[i % m.columns]!
  }

  async scaleRows(m: Mat, s: Mat): Promise<void> {
    checkShape('the column of factors', s, m.rows, 1)
    const [to, from] = [hostMat(m).values, hostMat(s).values]
    for (let i = 0; i < to.length; i++) to[i]! *= from[Math.floor(i / m.columns)]!
  }

  async scaleColumns(m: Mat, s: Mat): Promise<void> {
    checkShape('the row of factors', s, 1, m.columns)
    const [to, from] = [hostMat(m).values, hostMat(s).values]
    for (let i = 0; i < to.length; i++) to[i]! *= from[i % m.columns]!
  }

  async permuteRows(dst: Mat, src: Mat, order: Int32Array): Promise<void> {
    checkShape('the source', src, dst.rows, dst.columns)
    order.forEach((from, to) => {
      hostMat(dst).row(to).set(hostMat(src).row(from))
    })
  }

  async permuteColumns(dst: Mat, src: Mat, order: Int32Array): Promise<void> {
    checkShape('the source', src, dst.rows, dst.columns)
    for (let r = 0; r < src.rows; r++) {
      const [to, from] = [hostMat(dst).row(r), hostMat(src).row(r)]
      for (let c = 0; c < order.length; c++) to[c] = from[order[c]!]!
    }
  }

  async hadamard(m: Mat, block: number, signs?: Mat): Promise<void> {
    if (signs) await this.scaleColumns(m, signs)
    const { values } = hostMat(m)
    if (block < 1 || (block & (block - 1)) !== 0 || m.columns % block !== 0)
      throw new RangeError(`a Hadamard transform of ${block} does not divide rows of ${m.columns}`)
    const factor = 1 / Math.sqrt(block)
    const run = new Float64Array(block)
    for (let start = 0; start < values.length; start += block) {
      run.set(values.subarray(start, start + block))
      for (let stride = 1; stride < block; stride *= 2)
        for (let i = 0; i < block; i++) {
          if ((i & stride) !== 0) continue
          const [low, high] = [run[i]!, run[i + stride]!]
          run[i] = low + high
          run[i + stride] = low - high
        }
      for (let i = 0; i < block; i++) values[start + i] = run[i]! * factor
    }
  }

  async columnStats(m: Mat): Promise<ColumnStats> {
    const { columns, rows } = m
    const { values } = hostMat(m)
    const sum = new Float64Array(columns)
    const magnitudes = new Float64Array(columns)
    const min = new Float32Array(columns).fill(Number.POSITIVE_INFINITY)
    const max = new Float32Array(columns).fill(Number.NEGATIVE_INFINITY)
    for (let i = 0; i < values.length; i++) {
      const [value, c] = [values[i]!, i % columns]
      sum[c]! += value
      magnitudes[c]! += Math.abs(value)
      min[c] = Math.min(min[c]!, value)
      max[c] = Math.max(max[c]!, value)
    }
    return {
      absMax: min.map((low, c) => Math.max(-low, max[c]!)),
      mean: Float32Array.from(sum, (total) => total / rows),
      meanAbs: Float32Array.from(magnitudes, (total) => total / rows),
      min,
      max,
    }
  }

  async rowMeanSquare(dst: Mat, m: Mat): Promise<void> {
    checkShape('the result', dst, m.rows, 1)
    for (let r = 0; r < m.rows; r++) hostMat(dst).values[r] = forward.meanSquare(hostMat(m).row(r))
  }

  async diagonal(m: Mat): Promise<Float32Array> {
    return Float32Array.from({ length: m.rows }, (_, i) => hostMat(m).values[i * m.columns + i]!)
  }

  async dot(a: Mat, b: Mat): Promise<number> {
    checkShape('the second operand', b, a.rows, a.columns)
    const [x, y] = [hostMat(a).values, hostMat(b).values]
    let sum = 0
    for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!
    return sum
  }

  async firstNonFinite(m: Mat): Promise<number | undefined> {
    const index = hostMat(m).values.findIndex((value) => !Number.isFinite(value))
    return index < 0 ? undefined : index
  }

  async embed(dst: Mat, table: Mat, ids: Int32Array): Promise<void> {
    checkShape('the result', dst, ids.length, table.columns)
    ids.forEach((id, t) => {
      hostMat(dst).row(t).set(hostMat(table).row(id))
    })
  }

  async rmsNorm(dst: Mat, x: Mat, gain: Mat | null, epsilon: number): Promise<void> {
    forward.rmsNorm(hostMat(dst), hostMat(x), gain && hostMat(gain), epsilon)
  }

  async rotary(m: Mat, headDim: number, cosSin: Mat): Promise<void> {
    forward.rotary(hostMat(m), headDim, hostMat(cosSin))
  }

  async attention(dst: Mat, q: Mat, k: Mat, v: Mat, shape: AttentionShape): Promise<void> {
    checkShape('the result', dst, q.rows, q.columns)
    forward.attention(hostMat(dst), hostMat(q), hostMat(k), hostMat(v), shape)
  }

  async siluMul(dst: Mat, gate: Mat, up: Mat): Promise<void> {
    checkShape('up', up, gate.rows, gate.columns)
    forward.siluMul(hostMat(dst), hostMat(gate), hostMat(up))
  }

  async crossEntropy(logits: Mat, targets: Int32Array): Promise<Float32Array> {
    return forward.crossEntropy(hostMat(logits), targets)
  }

  async roundFloats(m: Mat, type: 'f16' | 'bf16'): Promise<void> {
    const { values } = hostMat(m)
    const { bits, value } = halves[type]
    for (let i = 0; i < values.length; i++) values[i] = value(bits(values[i]!))
  }

  async fakeQuantizeRows(m: Mat): Promise<void> {
    forward.fakeQuantizeRows(hostMat(m))
  }

  async fakeQuantizeHeads(m: Mat, headDim: number, bits: 4 | 8, ratio = 1): Promise<void> {
    forward.fakeQuantizeHeads(hostMat(m), headDim, bits, ratio)
  }

  async fitGrid(w: Mat, format: QuantizedFormatName, ratios?: Mat, zeros?: Zeros): Promise<Grid> {
    return weights.fitGrid(hostMat(w), format, ratios && hostMat(ratios), zeros)
  }

  async snap(dst: Mat, w: Mat, grid: Grid): Promise<void> {
    checkShape('the weights', w, grid.rows, grid.columns)
    weights.snap(hostMat(dst), hostMat(w), weights.hostGrid(grid))
  }

  async encode(w: Mat, grid: Grid): Promise<QuantizedMatrix> {
    return weights.encode(hostMat(w), weights.hostGrid(grid))
  }

  async searchClip(
    w: Mat,
    gram: Mat,
    format: QuantizedFormatName,
    ratios: readonly number[],
    zeros?: Zeros,
  ): Promise<Mat> {
    checkShape('the gram matrix', gram, w.columns, w.columns)
    const found = weights.searchClip(hostMat(w), hostMat(gram), format, ratios, zeros)
    return this.from(found.ratios, w.rows, found.columns)
  }

  async cholesky(h: Mat, damping: number): Promise<Mat> {
    checkShape('the Hessian', h, h.rows, h.rows)
    return this.from(weights.inverseCholesky(hostMat(h), damping), h.rows, h.rows)
  }

  async gptq(
    w: Mat,
    u: Mat,
    grid: Grid,
    options: { readonly order?: Int32Array; readonly block?: number } = {},
  ): Promise<void> {
    checkShape('U', u, w.columns, w.columns)
    weights.gptq(hostMat(w), hostMat(u), weights.hostGrid(grid), options.order)
  }

  async free(): Promise<void> {
    // The garbage collector's.
  }

  #transposed(m: Mat): HostMat {
    const result = new HostMat(this.#make(m.rows * m.columns), m.columns, m.rows)
    transposeInto(result, hostMat(m))
    return result
  }
}
