import type { Dims } from '../../dsl/kernel.ts'
import { checkGateUp } from './gate-up-order.ts'
import { type GemmTiles, gemmBlock, gemmGrid } from './mma.ts'
import { wgmmaGrid } from './wgmma.ts'
import { type WgmmaTiles, wgmmaCluster, wgmmaThreads } from './wgmma-plan.ts'

/** How GEMM kernels are launched: on `mma.sync` or on `wgmma`, as their tiles say. */
export const gemmOptions = {
  grid: (d: Dims, c: GemmTiles | WgmmaTiles): [number] | [number, number] =>
    c.path === 'wgmma' ? wgmmaGrid(d, c) : gemmGrid(d, c),
  block: (c: GemmTiles | WgmmaTiles): [number] => (c.path === 'wgmma' ? [wgmmaThreads(c)] : gemmBlock(c)),
  cluster: (c: GemmTiles | WgmmaTiles): number => (c.path === 'wgmma' ? wgmmaCluster(c) : 1),
  blocksPerMultiprocessor: (c: GemmTiles | WgmmaTiles): number =>
    c.path === 'wgmma' ? c.ctasPerMultiprocessor : 1,
} as const

/** Launches of products with an activation: as other products with as many rows of W. */
export const activatedOptions = {
  ...gemmOptions,
  grid: (d: Dims, c: GemmTiles | WgmmaTiles): [number] | [number, number] =>
    gemmOptions.grid({ ...d, N: activatedRows(d) }, c),
} as const

/** The rows of W behind `I` features of gate and up. */
function activatedRows({ N, I }: Dims): number {
  checkGateUp(I!)
  if (N !== undefined && N !== 2 * I!)
    throw new RangeError(
      `the output has I = ${I} features, so scales and biases must have N = ${2 * I!}, not ${N}`,
    )
  return 2 * I!
}
