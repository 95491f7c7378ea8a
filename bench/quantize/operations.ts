import { bf16FromF32 } from '../../dsl/half.ts'
import { uniform } from '../../models/uniform.ts'
import type { Compute, Mat } from '../../quantize/compute/compute.ts'
import { DeviceCompute } from '../../quantize/compute/device.ts'
import { Launches } from '../../quantize/compute/device-launches.ts'
import { MatrixMemory } from '../../quantize/compute/device-memory.ts'
import { multiplyParts, whole } from '../../quantize/compute/device-products.ts'
import { bytesOf } from '../../runtime/bytes.ts'
import type { Device } from '../../runtime/device.ts'

/** What one operation took: the median of some runs, and its rate where it is made of products. */
export interface OperationRow {
  readonly operation: string
  readonly shape: string
  readonly milliseconds: number
  readonly tflops: number | null
}

/** A layer as quantization sees it. */
export interface LayerShape {
  readonly hidden: number
  readonly intermediate: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  /** Tokens at once, whole windows. */
  readonly tokens: number
  readonly window: number
}

/** Values that large matrices repeat: a prime number of them, so that no two rows are alike. */
const drawn = 262_139

/** Normal numbers, some columns a hundred times as large as most. */
export function activations(seed: number, rows: number, columns: number): Float32Array {
  const random = uniform(seed)
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const block = Float32Array.from({ length: drawn }, normal)
  const scales = Float32Array.from({ length: columns }, (_, c) => (c % 509 === 7 ? 30 : 0.3 + 2 * random()))
  const values = new Float32Array(rows * columns)
  // Neighbours have something in common, so that there is something to compensate.
  for (let i = 0; i < values.length; i++) {
    const value = block[i % drawn]! + 0.8 * block[(i + 1) % drawn]!
    values[i] = value * scales[i % columns]!
  }
  return values
}

export function weightsOf(seed: number, rows: number, columns: number): Float32Array {
  const random = uniform(seed)
  const block = Float32Array.from({ length: drawn }, () => random() + random() + random() - 1.5)
  return Float32Array.from({ length: rows * columns }, (_, i) => block[i % drawn]! / Math.sqrt(columns))
}

/** Times every operation of the quantizer at the shapes of a layer. */
export async function measureOperations(
  device: Device,
  shape: LayerShape,
  measured: (row: OperationRow) => void,
): Promise<void> {
  const compute = new DeviceCompute(device)
  const { hidden: H, intermediate: I, tokens: T, heads, kvHeads, headDim, window } = shape
  const time = async (
    operation: string,
    label: string,
    flops: number | null,
    run: () => Promise<unknown>,
    runs = 3,
  ) => {
    await run()
    await device.synchronize()
    const times: number[] = []
    for (let i = 0; i < runs; i++) {
      const start = performance.now()
      await run()
      await device.synchronize()
      times.push(performance.now() - start)
    }
    const milliseconds = times.sort((a, b) => a - b)[Math.floor(runs / 2)]!
    measured({ operation, shape: label, milliseconds, tflops: flops && flops / milliseconds / 1e9 })
  }
  const scratch = (rows: number, columns: number) => compute.allocate(rows, columns)

  const x = compute.from(activations(1, T, H), T, H)
  const w = compute.from(weightsOf(2, I, H), I, H)
  const wide = scratch(T, I)
  await time('x·Wᵀ', `${T}x${I}x${H}`, 2 * T * I * H, () =>
    compute.multiply(wide, x, w, { transposeB: true }),
  )
  // What Cholesky factors and GPTQ are made of.
  const work = { target: device.target, launches: new Launches(device), memory: new MatrixMemory(device) }
  const full = { M: T, N: I, K: H, transposeB: true, exact: true }
  await time('x·Wᵀ, f32', `${T}x${I}x${H}`, 2 * T * I * H, () =>
    multiplyParts(work, whole(wide), whole(x), whole(w), full),
  )
  const narrow = scratch(T, H)
  await time('x·W', `${T}x${H}x${I}`, 2 * T * I * H, () => compute.multiply(narrow, wide, w))
  for (const [m, K] of [
    [x, H],
    [wide, I],
  ] as const) {
    const g = scratch(K, K)
    await time('gram', `${K} of ${T}`, T * K * (K + 1), () => compute.gram(g, m))
    g.free()
  }
  const elements = [
    ['rmsNorm', () => compute.rmsNorm(narrow, x, null, 1e-5)],
    ['fakeQuantizeRows', () => compute.fakeQuantizeRows(wide)],
    ['siluMul', () => compute.siluMul(wide, wide, wide)],
    ['columnStats', () => compute.columnStats(wide)],
    ['add', () => compute.add(wide, wide, 0)],
    ['dot', () => compute.dot(wide, wide)],
    ['hadamard', () => compute.hadamard(narrow, 2 ** Math.floor(Math.log2(H)))],
  ] as const
  for (const [name, run] of elements) await time(name, `${T} rows`, null, run)
  const keys = scratch(T, kvHeads * headDim)
  const queries = scratch(T, heads * headDim)
  const forward = { heads, kvHeads, headDim, window, scale: 1 / Math.sqrt(headDim) }
  await time('attention', `${T} in windows of ${window}`, 2 * T * window * heads * headDim, () =>
    compute.attention(narrow, queries, keys, keys, forward),
  )
  await time('fakeQuantizeHeads', `${T} rows`, null, () => compute.fakeQuantizeHeads(keys, headDim, 4))
  for (const m of [wide, narrow, keys, queries]) m.free()
  const half = bf16FromF32(weightsOf(3, I, H))
  const tensor = { name: 'w', dtype: 'bf16', shape: [I, H], bytes: bytesOf(half) } as const
  await time('load', `${I}x${H}`, null, async () => (await compute.load(tensor)).free())

  for (const [N, K] of [
    [I, H],
    [H, I],
  ] as const) {
    const m = compute.from(weightsOf(4, N, K), N, K)
    const h = await hessian(compute, K)
    await time(
      'cholesky',
      `${K}`,
      (2 * K ** 3) / 3,
      async () => {
        const u = await compute.cholesky(h, 0.01)
        u.free()
      },
      2,
    )
    const u = await compute.cholesky(h, 0.01)
    const copy = scratch(N, K)
    for (const format of ['w4a8-g128', 'w4a8'] as const) {
      const grid = await compute.fitGrid(m, format)
      await time(`gptq ${format}`, `${N}x${K}`, N * K * K, async () => {
        await compute.copy(copy, m)
        await compute.gptq(copy, u, grid)
      })
      const ratios = Array.from({ length: 10 }, (_, i) => 1 - 0.05 * i)
      await time(
        `searchClip ${format}`,
        `${N}x${K}, ${ratios.length} ratios`,
        2 * N * K * (format === 'w4a8' ? K : 128) * ratios.length,
        async () => (await compute.searchClip(m, h, format, ratios)).free(),
        1,
      )
      await time(`fit, snap ${format}`, `${N}x${K}`, null, async () => {
        const fitted = await compute.fitGrid(m, format)
        await compute.snap(copy, m, fitted)
        fitted.free()
      })
      await time(`encode ${format}`, `${N}x${K}`, null, () => compute.encode(m, grid))
      grid.free()
    }
    for (const each of [m, h, u, copy]) each.free()
  }
  await compute.free()
}

/** A Hessian of K columns, of twice as many tokens. */
export async function hessian(compute: Compute, K: number): Promise<Mat> {
  const T = 8192
  const h = compute.allocate(K, K)
  for (let piece = 0; piece < (2 * K) / T; piece++) {
    const x = compute.from(activations(10 + piece, T, K), T, K)
    await compute.gram(h, x)
    x.free()
  }
  return h
}
