import type { Kernel } from '../../dsl/kernel.ts'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import { gemmW4A8Grouped, gemmW4A8GroupGrouped, gemmW8A8Grouped } from '../../kernels/gemm/grouped.ts'
import { defaultGroupedTiles } from '../../kernels/gemm/grouped-tiles.ts'
import { gemmConstants, gemmOperands } from '../../kernels/gemm/operands.ts'
import type { WgmmaTiles } from '../../kernels/gemm/wgmma-plan.ts'
import { groupTiles, groupTilesReference, mostGroupTiles } from '../../kernels/group-tiles.ts'
import type { Device } from '../../runtime/device.ts'
import { rng } from '../../test/support/rng.ts'
import { bytesOf } from '../random-tensors.ts'
import type { Product } from './gemm.ts'
import { type KernelCase, kernelCase, type TensorPlan } from './kernel-case.ts'

/** A mixture of experts: how many there are, and how many a token takes. */
export interface Mixture {
  readonly experts: number
  readonly top: number
}

/** Mixtral 8x7B: gate-up and down of each expert. */
export const mixtral: Mixture & { readonly products: readonly Product[] } = {
  experts: 8,
  top: 2,
  products: [
    { name: 'experts gate_up', N: 28672, K: 4096, residual: false },
    { name: 'experts down', N: 4096, K: 14336, residual: false },
  ],
}

/** Tokens of each expert, where each of some tokens takes experts at random. */
export function randomRouting(tokens: number, { experts, top }: Mixture, seed = 1): number[] {
  const random = rng(seed)
  const counts = Array.from({ length: experts }, () => 0)
  for (let token = 0; token < tokens; token++) {
    const chosen = new Set<number>()
    while (chosen.size < top) chosen.add(random.integer(0, experts - 1))
    for (const expert of chosen) counts[expert]! += 1
  }
  return counts
}

/** The formats that grouped products have. */
export const groupedFormats = ['w4a8', 'w4a8-g128', 'w8a8'] as const
export type GroupedFormat = (typeof groupedFormats)[number]

// Constants and arguments are checked when a kernel is prepared.
const kernels: Readonly<Record<GroupedFormat, unknown>> = {
  w4a8: gemmW4A8Grouped,
  'w4a8-g128': gemmW4A8GroupGrouped,
  w8a8: gemmW8A8Grouped,
}

/** The products of all experts for a routing, in one launch: of `pairs` of a token and an expert. */
export function groupedCase(
  { name, N, K }: Product,
  counts: readonly number[],
  format: GroupedFormat,
  device: Pick<Device, 'target'>,
  tiles = groupedTilesFor(format, { N, K }, counts, device),
): KernelCase {
  const experts = counts.length
  const M = counts.reduce((sum, count) => sum + count, 0)
  const { w, scale, zero, x, xScale, xSum, out } = gemmOperands(format, { M, N, K }, { dtype: 'f16' })
  const used = counts.filter((count) => count > 0).length
  const each = ({ dtype, shape, tag }: NonNullable<typeof w>, data: TensorPlan['data']): TensorPlan => ({
    dtype,
    shape: [experts, ...shape],
    ...(tag !== undefined && { tag }),
    data,
    rotates: true,
    touched: used * bytesOf(dtype, shape),
  })
  const { residual: _, ...config } = gemmConstants(format as WeightFormatName, { N, K }, tiles, {
    dtype: 'f16',
  })
  const list = groupTilesReference(counts, tiles.tokens)
  const room = mostGroupTiles(M, experts, tiles.tokens)
  const random = rng(M + N)
  return kernelCase({
    kernel: kernels[format] as Kernel,
    config,
    parameters: { product: name, pairs: M, N, K, experts, format },
    args: {
      w: each(w!, 'bits'),
      scale: each(scale!, 'halfScales'),
      ...(zero && {
        zero: each(zero, () => Uint8Array.from({ length: experts * N }, () => random.integer(0, 15))),
      }),
      x: { ...x!, data: 'codes' },
      xScale: { ...xScale!, data: 'scales' },
      ...(xSum && {
        xSum: { ...xSum, data: () => Int32Array.from({ length: M }, () => random.integer(-5000, 5000)) },
      }),
      tiles: {
        dtype: 'i32',
        shape: [room, 4],
        data: () => Int32Array.from({ length: 4 * room }, (_, i) => list[i] ?? 0),
        touched: 4 * list.length,
      },
      tileCount: { dtype: 'i32', shape: [1], data: () => Int32Array.of(list.length / 4) },
      out: { ...out!, data: 'bits' },
    },
    ops: 2 * M * N * K,
    unit: 'int8',
  })
}

/** The tiles of a grouped product where nobody says which. Throws where `wgmma` cannot. */
export function groupedTilesFor(
  format: GroupedFormat,
  { N, K }: Pick<Product, 'N' | 'K'>,
  counts: readonly number[],
  { target }: Pick<Device, 'target'>,
): WgmmaTiles {
  const M = counts.reduce((sum, count) => sum + count, 0)
  const tiles = defaultGroupedTiles(weightFormats[format], { M, N, K, experts: counts.length }, target)
  if (!tiles) throw new RangeError(`no tiles of wgmma for ${N}x${K}: N must be a multiple of 8, K of 128`)
  return tiles
}

/** The list of tiles of a routing. */
export const groupTilesCase = (counts: readonly number[], tokens: number): KernelCase => {
  const M = counts.reduce((sum, count) => sum + count, 0)
  return kernelCase({
    kernel: groupTiles,
    config: { Experts: counts.length, tokens },
    parameters: { pairs: M, experts: counts.length },
    args: {
      counts: { dtype: 'i32', shape: [counts.length], data: () => Int32Array.from(counts) },
      tiles: { dtype: 'i32', shape: [mostGroupTiles(M, counts.length, tokens), 4], data: 'bits' },
      tileCount: { dtype: 'i32', shape: [1], data: 'bits' },
    },
  })
}
