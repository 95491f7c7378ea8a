import { packedShape } from '../../dsl/format.ts'
import { weightFormats } from '../../kernels/formats/index.ts'
import { gemm16 } from '../../kernels/gemm/w16.ts'
import type { WgmmaTiles } from '../../kernels/gemm/wgmma-plan.ts'
import { defaultWgmmaTiles } from '../../kernels/gemm/wgmma-tiles.ts'
import { addScaled } from '../../kernels/linalg/elements.ts'
import {
  addPart,
  type HalfOperandConfig,
  splitColumns,
  splitRows,
} from '../../kernels/linalg/half-operands.ts'
import { mirrorUpper } from '../../kernels/linalg/transpose.ts'
import { packHalf } from '../../kernels/pack-half.ts'
import type { Tensor } from '../../runtime/tensor.ts'
import type { DeviceMat } from './device-memory.ts'
import type { DeviceWork } from './device-products.ts'

/**
 * Products of f32 matrices by the engine's own product of bf16 on `wgmma`, of operands that are split before. Sums of a product
 * are those of tensor cores, which cut off where f32 rounds: 10⁻⁵ of the largest element.
 */

/** op(a)·op(b)ᵀ of M × N with K terms, the operands as they lie in memory. */
export interface TensorCoreShape {
  readonly M: number
  readonly N: number
  readonly K: number
  /** Whether rows of the operands lie along K: a is [M, K], or [K, M]; b is [N, K], or [K, N]. */
  readonly alongA: boolean
  readonly alongB: boolean
  /** Products of each pair of elements: one rounds the operands to bf16. */
  readonly terms: 1 | 3
  readonly add: boolean
}

/**
 * The largest tiles do best where neighbouring CTAs share their activations and few tile rows are under way at once: 8192 ×
 * 14336 × 12288 take 5.8 ms so, and 8.5 ms as the engine's fewer tokens want them (H200, 2026-11-22).
 */
function tilesFor({ target }: DeviceWork, M: number, N: number, K: number): WgmmaTiles | undefined {
  if (target.name !== 'sm_90a') return undefined
  const tiles = defaultWgmmaTiles(weightFormats.w16, { M, N, K }, 'bf16', target)
  return tiles?.tokens === 256 && M >= 2048 ? { ...tiles, multicast: 2, band: 4 } : tiles
}

/** Products that are too small to be worth splitting their operands. */
const LEAST_WORK = 2 ** 31

/** Whether this is the way for a product: `wgmma` is there, extents fit, and there is enough to do. */
export const suitsTensorCores = (work: DeviceWork, M: number, N: number, K: number): boolean =>
  M * N * K >= LEAST_WORK && tilesFor(work, M, N, K) !== undefined

/** dst = op(a)·op(b)ᵀ, or that added to dst. */
export async function multiplySplit(
  work: DeviceWork,
  dst: DeviceMat,
  a: DeviceMat,
  b: DeviceMat,
  { M, N, K, alongA, alongB, terms, add }: TensorCoreShape,
): Promise<void> {
  // The product reads its weights before the kernel in front of it has ended, which must not be the one that packs them.
  const [w, freeW] = await packed(work, b, alongB, { terms, side: 'second' })
  const [x, freeX] = await split(work, a, alongA, { terms, side: 'first' })
  if (!add) await run(work, dst.tensor, x, w, [M, N, terms * K])
  else {
    const sums = work.memory.matrix(M, N)
    await run(work, sums.tensor, x, w, [M, N, terms * K])
    await work.launches.run(addScaled, {}, { dst: dst.tensor, src: sums.tensor, factor: 1 })
    sums.free()
  }
  freeX()
  freeW()
}

/** Rows of a Gram matrix that are made at once; only the columns from the first of them on are. */
const GRAM_ROWS = 2048

/** dst += xᵀ·y of f32 matrices rounded to bf16, where that is symmetric: above the diagonal, and then mirrored. */
export async function gramRounded(
  work: DeviceWork,
  dst: DeviceMat,
  x: DeviceMat,
  y: DeviceMat,
): Promise<void> {
  const [K, T] = [x.columns, x.rows]
  // In this order for the reason that `multiplySplit` has.
  const [right, freeRight] = await packed(work, y, false, { terms: 1, side: 'second' })
  const [left, freeLeft] = await split(work, x, false, { terms: 1, side: 'first' })
  for (let first = 0; first < K; first += GRAM_ROWS) {
    const [M, N] = [Math.min(GRAM_ROWS, K - first), K - first]
    const sums = work.memory.matrix(M, N)
    const [, ...unit] = packedShape(weightFormats.w16, K, T)
    const shape = packedShape(weightFormats.w16, N, T)
    const strips = right.view((first / 64) * unit[0]! * unit[1]! * 4, 'u32', shape, 'w16')
    await run(work, sums.tensor, left.slice(first, first + M), strips, [M, N, T])
    await work.launches.run(addPart, {}, { dst: dst.tensor, src: sums.tensor, row: first, column: first })
    sums.free()
  }
  freeLeft()
  freeRight()
  await work.launches.run(mirrorUpper, {}, { m: dst.tensor })
}

/** out [M, N] = x [M, K]·wᵀ of bf16. */
function run(
  work: DeviceWork,
  out: Tensor,
  x: Tensor,
  w: Tensor,
  [M, N, K]: readonly [number, number, number],
): Promise<void> {
  const tiles = tilesFor(work, M, N, K)!
  const config = { ...tiles, dtype: 'bf16', out: 'f32', bias: false, residual: false } as const
  return work.launches.run(gemm16, config, { w, x, out } as never)
}

/** An operand as rows along K, of bf16, and what gives it back. */
async function split(
  { launches, memory }: DeviceWork,
  m: DeviceMat,
  along: boolean,
  config: HalfOperandConfig,
): Promise<[Tensor, () => void]> {
  const [rows, columns] = along ? [m.rows, m.columns] : [m.columns, m.rows]
  const [dst, free] = memory.take('bf16', [rows, config.terms * columns])
  if (along) await launches.run(splitRows, config, { dst, src: m.tensor } as never)
  else await launches.run(splitColumns, config, { dst, src: m.tensor } as never)
  return [dst, free]
}

/** The same as the product reads weights. */
async function packed(
  work: DeviceWork,
  m: DeviceMat,
  along: boolean,
  config: HalfOperandConfig,
): Promise<[Tensor, () => void]> {
  const [src, freeSrc] = await split(work, m, along, config)
  const [N, K] = src.shape as readonly [number, number]
  const shape = packedShape(weightFormats.w16, N, K)
  const [words, free] = work.memory.take('u32', shape)
  const [large, freeLarge] = work.memory.take('i32', [1])
  const packing = { K, from: 'bf16', to: 'bf16' } as const
  await work.launches.run(packHalf, packing, { src, large, out: words } as never)
  freeSrc()
  freeLarge()
  return [words.view(0, 'u32', shape, 'w16'), free]
}
