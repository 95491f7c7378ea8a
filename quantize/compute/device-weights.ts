import type { QuantizedMatrix } from '../../checkpoint/quantized-matrix.ts'
import { f16FromF32 } from '../../dsl/half.ts'
import { type WeightFormat, weightFormats } from '../../kernels/formats/index.ts'
import { keepLess, searchGroupClip } from '../../kernels/linalg/clip-search.ts'
import { addScaled, gatherColumns } from '../../kernels/linalg/elements.ts'
import { GPTQ_BLOCK, gptqBlock } from '../../kernels/linalg/gptq-block.ts'
import { encodeWeights, fitUnits, type GridKind, snapWeights, unitRanges } from '../../kernels/linalg/grid.ts'
import { rowDots } from '../../kernels/linalg/rows.ts'
import type { Tensor } from '../../runtime/tensor.ts'
import { QuantizeError } from '../error.ts'
import type { QuantizedFormatName, Zeros } from '../round-to-nearest.ts'
import type { Grid } from './compute.ts'
import { DeviceMat } from './device-memory.ts'
import { type DeviceWork, multiply, multiplyParts, whole } from './device-products.ts'

/** Rounding of weights on a device; `Compute` says what the operations do. */

/** The scales of a matrix. */
export class DeviceGrid implements Grid {
  readonly format: QuantizedFormatName
  readonly rows: number
  readonly columns: number
  readonly kind: GridKind
  /** [rows, units, 2] and [rows], as `kernels/linalg/grid.ts` says. */
  readonly params: Tensor
  readonly scale: Tensor
  readonly #free: () => void

  constructor(
    format: QuantizedFormatName,
    shape: readonly [number, number],
    tensors: { params: Tensor; scale: Tensor },
    free: () => void,
  ) {
    this.format = format
    this.rows = shape[0]
    this.columns = shape[1]
    this.kind = kindOf(format)
    this.params = tensors.params
    this.scale = tensors.scale
    this.#free = free
  }

  free(): void {
    this.#free()
  }
}

export function deviceGrid(grid: Grid): DeviceGrid {
  if (grid instanceof DeviceGrid) return grid
  throw new TypeError('a grid of another backend was given to DeviceCompute')
}

function kindOf(format: QuantizedFormatName): GridKind {
  const { bits, group, activations }: WeightFormat = weightFormats[format]
  if (bits === 8) return 'symmetric'
  return group > 0 && activations.includes('i8') ? 'two-level' : 'asymmetric'
}

const groupOf = (format: QuantizedFormatName, columns: number): number =>
  (weightFormats[format] as WeightFormat).group || columns

function checkGroups(format: QuantizedFormatName, columns: number): number {
  const group = groupOf(format, columns)
  if (columns % group !== 0)
    throw new QuantizeError(
      `weights have ${columns} columns, not a multiple of ${group}; quantize this model with one scale per row`,
    )
  return group
}

/** The grid, and the first row that needs a scale beyond f16, of which there are as many as rows if there is none. */
async function fit(
  { launches, memory }: DeviceWork,
  w: DeviceMat,
  format: QuantizedFormatName,
  ratios: DeviceMat | undefined,
  zeros: Zeros | undefined,
): Promise<{ grid: DeviceGrid; bad: Tensor; freeBad: () => void }> {
  const units = w.columns / checkGroups(format, w.columns)
  const [ranges, freeRanges] = memory.take('f32', [w.rows, units, 2])
  const [params, freeParams] = memory.take('f32', [w.rows, units, 2])
  const [scale, freeScale] = memory.take('f32', [w.rows])
  const [bad, freeBad] = memory.take('i32', [1])
  bad.write([w.rows])
  await launches.run(unitRanges, {}, { w: w.tensor, ranges })
  const each: 'row' | 'unit' = ratios && ratios.columns === 1 ? 'row' : 'unit'
  const config = { kind: kindOf(format), ratios: ratios !== undefined, each, ...(zeros && { zeros }) }
  const clamps = ratios ? { ratios: ratios.tensor } : {}
  await launches.run(fitUnits, config, { ranges, params, scale, bad, ...clamps } as never)
  freeRanges()
  const grid = new DeviceGrid(format, [w.rows, w.columns], { params, scale }, () => {
    freeParams()
    freeScale()
  })
  return { grid, bad, freeBad }
}

export async function fitGrid(
  work: DeviceWork,
  w: DeviceMat,
  format: QuantizedFormatName,
  ratios?: DeviceMat,
  zeros?: Zeros,
): Promise<DeviceGrid> {
  const { grid, bad, freeBad } = await fit(work, w, format, ratios, zeros)
  const row = ((await bad.read()) as Int32Array)[0]!
  freeBad()
  if (row < w.rows) {
    grid.free()
    throw new QuantizeError(
      `weights of row ${row} need a scale that f16 cannot hold; keep this model in bf16`,
    )
  }
  return grid
}

export async function snap(
  { launches }: DeviceWork,
  dst: DeviceMat,
  w: DeviceMat,
  grid: DeviceGrid,
): Promise<void> {
  const { kind, params, scale } = grid
  await launches.run(snapWeights, { kind }, { dst: dst.tensor, w: w.tensor, params, scale })
}

export async function encode(
  { launches, memory }: DeviceWork,
  w: DeviceMat,
  grid: DeviceGrid,
): Promise<QuantizedMatrix> {
  const { kind, params, scale, rows, columns } = grid
  const dtype = kind === 'symmetric' ? 'i8' : 'u8'
  const [coded, free] = memory.take(dtype, [rows, columns])
  await launches.run(encodeWeights, { kind, dtype } as const, { codes: coded, w: w.tensor, params, scale })
  const codes = (await coded.read()) as Uint8Array | Int8Array
  free()
  const pairs = (await params.read()) as Float32Array
  const units = pairs.length / 2
  const firsts = new Float32Array(units)
  const seconds = new Uint8Array(units)
  for (let i = 0; i < units; i++) {
    firsts[i] = pairs[2 * i]!
    seconds[i] = pairs[2 * i + 1]!
  }
  if (kind === 'two-level')
    return {
      rows,
      columns,
      codes,
      scale: f16FromF32((await scale.read()) as Float32Array),
      groupScale: seconds,
      groupMin: new Int8Array(firsts),
    }
  const ofUnits = { rows, columns, codes, scale: f16FromF32(firsts) }
  return kind === 'symmetric' ? ofUnits : { ...ofUnits, zero: seconds }
}

/** Rows whose errors are held at once, of formats whose rows are one unit. */
const SEARCHED_ROWS = 4096

export async function searchClip(
  work: DeviceWork,
  w: DeviceMat,
  gram: DeviceMat,
  format: QuantizedFormatName,
  ratios: readonly number[],
  zeros?: Zeros,
): Promise<DeviceMat> {
  const { launches, memory } = work
  const { group }: WeightFormat = weightFormats[format]
  if (group === 0) return searchRowClip(work, w, gram, format, ratios)
  const best = memory.matrix(w.rows, w.columns / checkGroups(format, w.columns))
  // The scales of rows that are not clamped.
  const { grid, freeBad } = await fit(work, w, format, undefined, zeros)
  const [tried, free] = memory.take('f32', [ratios.length])
  tried.write(ratios)
  const args = { w: w.tensor, gram: gram.tensor, scale: grid.scale, ratios: tried, best: best.tensor }
  await launches.run(searchGroupClip, { kind: grid.kind, group, ...(zeros && { zeros }) }, args)
  for (const each of [free, freeBad, () => grid.free()]) each()
  return best
}

/** Ratio by ratio: the errors of whole rows, their product with the gram matrix, and the rows' products with both. */
async function searchRowClip(
  work: DeviceWork,
  w: DeviceMat,
  gram: DeviceMat,
  format: QuantizedFormatName,
  ratios: readonly number[],
): Promise<DeviceMat> {
  const { launches, memory } = work
  const best = memory.matrix(w.rows, 1)
  for (let first = 0; first < w.rows; first += SEARCHED_ROWS) {
    const end = Math.min(first + SEARCHED_ROWS, w.rows)
    const part = new DeviceMat(w.tensor.slice(first, end))
    const [M, K] = [part.rows, part.columns]
    const chosen = best.tensor.slice(first, end).reshape([M])
    const delta = memory.matrix(M, K)
    const weighted = memory.matrix(M, K)
    const ratio = memory.matrix(M, 1)
    const [loss, freeLoss] = memory.take('f32', [M])
    const [least, freeLeast] = memory.take('f32', [M])
    least.write(new Float32Array(M).fill(Number.POSITIVE_INFINITY))
    for (const value of ratios) {
      ratio.tensor.write(new Float32Array(M).fill(value))
      const { grid, freeBad } = await fit(work, part, format, ratio, undefined)
      await snap(work, delta, part, grid)
      await launches.run(addScaled, {}, { dst: delta.tensor, src: part.tensor, factor: -1 })
      await multiply(work, weighted, delta, gram, { M, N: K, K })
      await launches.run(rowDots, {}, { a: weighted.tensor, b: delta.tensor, dst: loss })
      await launches.run(keepLess, {}, { loss, least, best: chosen, ratio: value })
      freeBad()
      grid.free()
    }
    for (const mat of [delta, weighted, ratio]) mat.free()
    freeLoss()
    freeLeast()
  }
  return best
}

export async function gptq(
  work: DeviceWork,
  w: DeviceMat,
  u: DeviceMat,
  grid: DeviceGrid,
  order?: Int32Array,
): Promise<void> {
  const { launches, memory } = work
  const [N, K] = [w.rows, w.columns]
  const { kind, params, scale } = grid
  const ordered = order ? memory.matrix(N, K) : w
  const [orders, freeOrders] = memory.take('i32', [K])
  if (order) {
    orders.write(order)
    await launches.run(gatherColumns, {}, { dst: ordered.tensor, src: w.tensor, order: orders })
  }
  const errors = memory.matrix(N, GPTQ_BLOCK)
  const config = { kind, order: order !== undefined }
  const fixed = { w: ordered.tensor, u: u.tensor, params, scale, errors: errors.tensor }
  for (let first = 0; first < K; first += GPTQ_BLOCK) {
    await launches.run(gptqBlock, config, { ...fixed, first, ...(order && { order: orders }) } as never)
    const next = first + GPTQ_BLOCK
    if (next >= K) break
    const rest = { of: ordered, row: 0, column: next }
    const later = { of: u, row: first, column: next }
    const shape = { M: N, N: K - next, K: GPTQ_BLOCK, alpha: -1, add: true, exact: true }
    await multiplyParts(work, rest, whole(errors), later, shape)
  }
  if (order) {
    const inverse = new Int32Array(K)
    order.forEach((column, j) => {
      inverse[column] = j
    })
    orders.write(inverse)
    await launches.run(gatherColumns, {}, { dst: w.tensor, src: ordered.tensor, order: orders })
    ordered.free()
  }
  errors.free()
  freeOrders()
}
