import type { QuantizedMatrix } from '../../checkpoint/quantized-matrix.ts'
import type { HostTensor } from '../../checkpoint/tensor.ts'
import { type CausalAttentionConfig, causalAttention } from '../../kernels/linalg/causal-attention.ts'
import { columnParts, joinParts, STATS_PARTS, STATS_ROWS } from '../../kernels/linalg/column-stats.ts'
import {
  addScaled,
  addToRows,
  gatherColumns,
  gatherRows,
  narrowFloats,
  roundFloats,
  scaleColumns,
  scaleRows,
  siluProduct,
  widenHalfs,
} from '../../kernels/linalg/elements.ts'
import { hadamardRows, LONGEST_HADAMARD } from '../../kernels/linalg/hadamard.ts'
import { fakeQuantizeHeads, rotateHeads } from '../../kernels/linalg/heads.ts'
import {
  fakeQuantizeRows,
  findNonFinite,
  normalizeRows,
  rowDots,
  rowMeanSquare,
  softmaxParts,
} from '../../kernels/linalg/rows.ts'
import { transpose } from '../../kernels/linalg/transpose.ts'
import type { Device } from '../../runtime/device.ts'
import type { Tensor } from '../../runtime/tensor.ts'
import type { QuantizedFormatName, Zeros } from '../round-to-nearest.ts'
import type { AttentionShape, ColumnStats, Compute, Grid, Mat, MultiplyOptions, Values } from './compute.ts'
import { Launches } from './device-launches.ts'
import { DeviceMat, deviceMat, MatrixMemory } from './device-memory.ts'
import { type DeviceWork, diagonalOf, gram, inverseCholesky, multiply } from './device-products.ts'
import * as weights from './device-weights.ts'
import { checkShape } from './host-mat.ts'

/** `Compute` by kernels of ours, on a GPU or on the emulator. Sums are those of f32, in a fixed order. */
export class DeviceCompute implements Compute {
  readonly name: string
  readonly #device: Device
  readonly #memory: MatrixMemory
  readonly #launches: Launches
  readonly #work: DeviceWork
  /** The end of what was called so far: a kernel that is compiled first must not be overtaken. */
  #last: Promise<unknown> = Promise.resolve()

  /** The device stays the caller's. */
  constructor(device: Device) {
    this.name = device.name
    this.#device = device
    this.#memory = new MatrixMemory(device)
    this.#launches = new Launches(device)
    this.#work = { target: device.target, launches: this.#launches, memory: this.#memory }
  }

  get peakBytes(): number {
    return this.#memory.peakBytes
  }

  allocate(rows: number, columns: number): DeviceMat {
    const mat = this.#memory.matrix(rows, columns)
    mat.tensor.fill(0)
    return mat
  }

  from(values: Values, rows: number, columns: number): DeviceMat {
    if (values.length !== rows * columns)
      throw new RangeError(`${values.length} values do not make a matrix of ${rows} × ${columns}`)
    const mat = this.#memory.matrix(rows, columns)
    mat.tensor.write(values instanceof Float32Array ? values : Float32Array.from(values))
    return mat
  }

  load(tensor: HostTensor): Promise<DeviceMat> {
    const { dtype, bytes, name, shape } = tensor
    const [rows, columns] = shape.length === 1 ? [1, shape[0]!] : (shape as [number, number])
    return this.#inOrder(async () => {
      const mat = this.#memory.matrix(rows, columns)
      if (dtype === 'f32') {
        mat.tensor.write(bytes)
        return mat
      }
      if (dtype !== 'f16' && dtype !== 'bf16')
        throw new TypeError(`tensor ${name} holds ${dtype}; only f32, f16 and bf16 are floats by themselves`)
      const [halfs, free] = this.#memory.take(dtype, [rows, columns])
      halfs.write(bytes)
      await this.#launches.run(widenHalfs, { dtype }, { dst: mat.tensor, src: halfs })
      free()
      return mat
    })
  }

  read(m: Mat): Promise<Float32Array> {
    return this.#inOrder(async () => (await deviceMat(m).tensor.read()) as Float32Array)
  }

  readHalfs(m: Mat): Promise<Uint16Array> {
    const { tensor, rows, columns } = deviceMat(m)
    return this.#inOrder(async () => {
      const [halfs, free] = this.#memory.take('f16', [rows, columns])
      await this.#launches.run(narrowFloats, {}, { dst: halfs, src: tensor })
      const bits = (await halfs.read()) as Uint16Array
      free()
      return bits
    })
  }

  rowsOf(m: Mat, first: number, end: number): DeviceMat {
    if (!(first >= 0 && first < end && end <= m.rows))
      throw new RangeError(`rows ${first} to ${end} are not within the ${m.rows} of the matrix`)
    return new DeviceMat(deviceMat(m).tensor.slice(first, end))
  }

  reshape(m: Mat, rows: number, columns: number): DeviceMat {
    if (rows * columns !== m.rows * m.columns)
      throw new RangeError(`${m.rows} × ${m.columns} numbers are not ${rows} × ${columns}`)
    return new DeviceMat(deviceMat(m).tensor.reshape([rows, columns]))
  }

  copy(dst: Mat, src: Mat): Promise<void> {
    checkShape('the source', src, dst.rows, dst.columns)
    return this.#inOrder(async () => deviceMat(dst).tensor.copyFrom(deviceMat(src).tensor))
  }

  multiply(dst: Mat, a: Mat, b: Mat, options: MultiplyOptions = {}): Promise<void> {
    const { transposeA = false, transposeB = false } = options
    const [M, K] = transposeA ? [a.columns, a.rows] : [a.rows, a.columns]
    const N = transposeB ? b.rows : b.columns
    checkShape('the right operand', b, transposeB ? N : K, transposeB ? K : N)
    checkShape('the result', dst, M, N)
    const [to, left, right] = [dst, a, b].map(deviceMat) as [DeviceMat, DeviceMat, DeviceMat]
    return this.#inOrder(() => multiply(this.#work, to, left, right, { M, N, K, ...options }))
  }

  gram(dst: Mat, x: Mat, rowWeights?: Mat): Promise<void> {
    checkShape('the gram matrix', dst, x.columns, x.columns)
    if (rowWeights) checkShape('the column of weights', rowWeights, x.rows, 1)
    return this.#inOrder(() =>
      gram(this.#work, deviceMat(dst), deviceMat(x), rowWeights && deviceMat(rowWeights)),
    )
  }

  transpose(dst: Mat, src: Mat): Promise<void> {
    checkShape('the result', dst, src.columns, src.rows)
    return this.#inOrder(() =>
      this.#launches.run(transpose, {}, { dst: deviceMat(dst).tensor, src: deviceMat(src).tensor }),
    )
  }

  add(dst: Mat, src: Mat, factor = 1): Promise<void> {
    checkShape('the source', src, dst.rows, dst.columns)
    const args = { dst: deviceMat(dst).tensor, src: deviceMat(src).tensor, factor }
    return this.#inOrder(() => this.#launches.run(addScaled, {}, args))
  }

  addRow(m: Mat, row: Mat, factor = 1): Promise<void> {
    checkShape('the row', row, 1, m.columns)
    const args = { m: deviceMat(m).tensor, row: deviceMat(row).flat, factor }
    return this.#inOrder(() => this.#launches.run(addToRows, {}, args))
  }

  scaleRows(m: Mat, s: Mat): Promise<void> {
    checkShape('the column of factors', s, m.rows, 1)
    const { tensor } = deviceMat(m)
    return this.#inOrder(() =>
      this.#launches.run(scaleRows, {}, { dst: tensor, src: tensor, s: deviceMat(s).flat }),
    )
  }

  scaleColumns(m: Mat, s: Mat): Promise<void> {
    checkShape('the row of factors', s, 1, m.columns)
    const args = { m: deviceMat(m).tensor, s: deviceMat(s).flat }
    return this.#inOrder(() => this.#launches.run(scaleColumns, {}, args))
  }

  permuteRows(dst: Mat, src: Mat, order: Int32Array): Promise<void> {
    checkShape('the source', src, dst.rows, dst.columns)
    return this.embed(dst, src, order)
  }

  permuteColumns(dst: Mat, src: Mat, order: Int32Array): Promise<void> {
    checkShape('the source', src, dst.rows, dst.columns)
    return this.#withInts(order, src.columns, src.columns, (tensor) =>
      this.#launches.run(
        gatherColumns,
        {},
        { dst: deviceMat(dst).tensor, src: deviceMat(src).tensor, order: tensor },
      ),
    )
  }

  hadamard(m: Mat, block: number, signs?: Mat): Promise<void> {
    if (!Number.isInteger(Math.log2(block)) || m.columns % block !== 0)
      throw new RangeError(`a Hadamard transform of ${block} does not divide rows of ${m.columns}`)
    if (block > LONGEST_HADAMARD)
      throw new RangeError(`a Hadamard transform of ${block}: up to ${LONGEST_HADAMARD} are possible`)
    if (signs) checkShape('the row of signs', signs, 1, m.columns)
    const args = { m: deviceMat(m).tensor, ...(signs && { signs: deviceMat(signs).flat }) }
    return this.#inOrder(() =>
      this.#launches.run(hadamardRows, { block, signs: signs !== undefined }, args as never),
    )
  }

  columnStats(m: Mat): Promise<ColumnStats> {
    const { rows, columns, tensor } = deviceMat(m)
    return this.#inOrder(async () => {
      const pieces = Math.ceil(rows / STATS_ROWS)
      const [parts, freeParts] = this.#memory.take('f32', [pieces, STATS_PARTS, columns])
      const [out, freeOut] = this.#memory.take('f32', [STATS_PARTS, columns])
      await this.#launches.run(columnParts, {}, { m: tensor, parts })
      await this.#launches.run(joinParts, {}, { parts, out })
      const values = (await out.read()) as Float32Array
      freeParts()
      freeOut()
      const [min, max, sum, magnitudes] = Array.from({ length: STATS_PARTS }, (_, part) =>
        values.slice(part * columns, (part + 1) * columns),
      ) as [Float32Array, Float32Array, Float32Array, Float32Array]
      return {
        absMax: min.map((low, c) => Math.max(-low, max[c]!)),
        mean: sum.map((total) => total / rows),
        meanAbs: magnitudes.map((total) => total / rows),
        min,
        max,
      }
    })
  }

  rowMeanSquare(dst: Mat, m: Mat): Promise<void> {
    checkShape('the result', dst, m.rows, 1)
    const args = { m: deviceMat(m).tensor, dst: deviceMat(dst).flat }
    return this.#inOrder(() => this.#launches.run(rowMeanSquare, {}, args))
  }

  diagonal(m: Mat): Promise<Float32Array> {
    checkShape('the matrix', m, m.rows, m.rows)
    return this.#inOrder(() => diagonalOf(this.#work, deviceMat(m)))
  }

  dot(a: Mat, b: Mat): Promise<number> {
    checkShape('the second operand', b, a.rows, a.columns)
    return this.#inOrder(async () => {
      const [dots, free] = this.#memory.take('f32', [a.rows])
      await this.#launches.run(rowDots, {}, { a: deviceMat(a).tensor, b: deviceMat(b).tensor, dst: dots })
      const values = (await dots.read()) as Float32Array
      free()
      return values.reduce((sum, value) => sum + value, 0)
    })
  }

  firstNonFinite(m: Mat): Promise<number | undefined> {
    const { tensor, rows, columns } = deviceMat(m)
    return this.#inOrder(async () => {
      const [first, free] = this.#memory.take('i32', [1])
      first.write([rows])
      await this.#launches.run(findNonFinite, {}, { m: tensor, first })
      const row = ((await first.read()) as Int32Array)[0]!
      free()
      if (row === rows) return undefined
      const values = (await tensor.slice(row, row + 1).read()) as Float32Array
      return row * columns + values.findIndex((value) => !Number.isFinite(value))
    })
  }

  embed(dst: Mat, table: Mat, ids: Int32Array): Promise<void> {
    checkShape('the result', dst, ids.length, table.columns)
    return this.#withInts(ids, dst.rows, table.rows, (order) =>
      this.#launches.run(gatherRows, {}, { dst: deviceMat(dst).tensor, src: deviceMat(table).tensor, order }),
    )
  }

  rmsNorm(dst: Mat, x: Mat, gain: Mat | null, epsilon: number): Promise<void> {
    checkShape('the result', dst, x.rows, x.columns)
    if (gain) checkShape('the gain', gain, 1, x.columns)
    const args = { dst: deviceMat(dst).tensor, x: deviceMat(x).tensor, eps: epsilon }
    const gains = gain ? { gain: deviceMat(gain).flat } : {}
    return this.#inOrder(() =>
      this.#launches.run(normalizeRows, { gain: gain !== null }, { ...args, ...gains } as never),
    )
  }

  rotary(m: Mat, headDim: number, cosSin: Mat): Promise<void> {
    if (m.columns % headDim !== 0 || cosSin.columns > headDim)
      throw new RangeError(
        `${cosSin.columns} columns of heads of ${headDim} cannot be rotated in rows of ${m.columns}`,
      )
    const config = { D: headDim, R: cosSin.columns }
    const args = { m: deviceMat(m).tensor, cosSin: deviceMat(cosSin).tensor }
    return this.#inOrder(() => this.#launches.run(rotateHeads, config, args))
  }

  attention(dst: Mat, q: Mat, k: Mat, v: Mat, shape: AttentionShape): Promise<void> {
    const config = attentionConfig(dst, q, k, v, shape)
    const [to, queries, keys, values] = [dst, q, k, v].map((m) => deviceMat(m).tensor)
    const args = { dst: to!, q: queries!, k: keys!, v: values!, scale: shape.scale }
    return this.#inOrder(() => this.#launches.run(causalAttention, config, args))
  }

  siluMul(dst: Mat, gate: Mat, up: Mat): Promise<void> {
    checkShape('up', up, gate.rows, gate.columns)
    checkShape('the result', dst, gate.rows, gate.columns)
    const args = { dst: deviceMat(dst).tensor, gate: deviceMat(gate).tensor, up: deviceMat(up).tensor }
    return this.#inOrder(() => this.#launches.run(siluProduct, {}, args))
  }

  crossEntropy(logits: Mat, targets: Int32Array): Promise<Float32Array> {
    const { rows, columns } = logits
    return this.#withInts(targets, rows, columns, async (ids) => {
      const [parts, free] = this.#memory.take('f32', [rows, 3])
      await this.#launches.run(softmaxParts, {}, { x: deviceMat(logits).tensor, targets: ids, parts })
      const values = (await parts.read()) as Float32Array
      free()
      return Float32Array.from({ length: rows }, (_, t) => {
        const [most, sum, own] = values.subarray(3 * t, 3 * t + 3) as unknown as [number, number, number]
        return Math.log(sum) + most - own
      })
    })
  }

  roundFloats(m: Mat, type: 'f16' | 'bf16'): Promise<void> {
    return this.#inOrder(() => this.#launches.run(roundFloats, { type }, { m: deviceMat(m).tensor }))
  }

  fakeQuantizeRows(m: Mat): Promise<void> {
    return this.#inOrder(() => this.#launches.run(fakeQuantizeRows, {}, { m: deviceMat(m).tensor }))
  }

  fakeQuantizeHeads(m: Mat, headDim: number, bits: 4 | 8, ratio = 1): Promise<void> {
    if (m.columns % headDim !== 0)
      throw new RangeError(`rows of ${m.columns} are not whole heads of ${headDim}`)
    const args = { m: deviceMat(m).tensor, ratio }
    return this.#inOrder(() => this.#launches.run(fakeQuantizeHeads, { D: headDim, bits }, args))
  }

  fitGrid(w: Mat, format: QuantizedFormatName, ratios?: Mat, zeros?: Zeros): Promise<Grid> {
    return this.#inOrder(() =>
      weights.fitGrid(this.#work, deviceMat(w), format, ratios && deviceMat(ratios), zeros),
    )
  }

  snap(dst: Mat, w: Mat, grid: Grid): Promise<void> {
    checkShape('the weights', w, grid.rows, grid.columns)
    checkShape('the result', dst, grid.rows, grid.columns)
    return this.#inOrder(() =>
      weights.snap(this.#work, deviceMat(dst), deviceMat(w), weights.deviceGrid(grid)),
    )
  }

  encode(w: Mat, grid: Grid): Promise<QuantizedMatrix> {
    checkShape('the weights', w, grid.rows, grid.columns)
    return this.#inOrder(() => weights.encode(this.#work, deviceMat(w), weights.deviceGrid(grid)))
  }

  searchClip(
    w: Mat,
    gram: Mat,
    format: QuantizedFormatName,
    ratios: readonly number[],
    zeros?: Zeros,
  ): Promise<Mat> {
    checkShape('the gram matrix', gram, w.columns, w.columns)
    return this.#inOrder(() =>
      weights.searchClip(this.#work, deviceMat(w), deviceMat(gram), format, ratios, zeros),
    )
  }

  cholesky(h: Mat, damping: number): Promise<Mat> {
    checkShape('the Hessian', h, h.rows, h.rows)
    return this.#inOrder(() => inverseCholesky(this.#work, deviceMat(h), damping))
  }

  gptq(w: Mat, u: Mat, grid: Grid, options: { readonly order?: Int32Array } = {}): Promise<void> {
    checkShape('U', u, w.columns, w.columns)
    checkShape('the weights', w, grid.rows, grid.columns)
    return this.#inOrder(() =>
      weights.gptq(this.#work, deviceMat(w), deviceMat(u), weights.deviceGrid(grid), options.order),
    )
  }

  /** Waits for the device and gives back what no matrix has. */
  async free(): Promise<void> {
    await this.#last
    await this.#device.synchronize()
    this.#memory.release()
  }

  /** Runs `f` behind all that was called before. */
  #inOrder<T>(f: () => Promise<T>): Promise<T> {
    const result = this.#last.then(f)
    this.#last = result.catch(() => {})
    return result
  }

  /** Runs `f` with indices below `bound` on the device. */
  #withInts<T>(
    values: Int32Array,
    length: number,
    bound: number,
    f: (tensor: Tensor) => Promise<T>,
  ): Promise<T> {
    if (values.length !== length) throw new RangeError(`${values.length} indices, and ${length} are expected`)
    const wrong = values.find((value) => value < 0 || value >= bound)
    if (wrong !== undefined) throw new RangeError(`index ${wrong} is not below ${bound}`)
    return this.#inOrder(async () => {
      const [tensor, free] = this.#memory.take('i32', [length])
      tensor.write(values)
      const result = await f(tensor)
      free()
      return result
    })
  }
}

/** What attention over such matrices is compiled for. Throws `RangeError` where they do not fit. */
function attentionConfig(
  dst: Mat,
  q: Mat,
  k: Mat,
  v: Mat,
  { heads, kvHeads, headDim: D, window: L, sliding = 0 }: AttentionShape,
): CausalAttentionConfig {
  checkShape('the queries', q, q.rows, heads * D)
  checkShape('the keys', k, q.rows, kvHeads * D)
  checkShape('the values', v, q.rows, kvHeads * D)
  checkShape('the result', dst, q.rows, q.columns)
  if (q.rows % L !== 0) throw new RangeError(`${q.rows} tokens are not whole windows of ${L}`)
  return { D, heads, kvHeads, L, sliding }
}
