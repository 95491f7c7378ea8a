import type { Dims } from '../dsl/kernel.ts'
import { type GemmTiles, gemmBlock, gemmGrid } from './gemm.ts'
import { wgmmaGrid } from './gemm-wgmma.ts'
import { type WgmmaTiles, wgmmaCluster, wgmmaThreads } from './gemm-wgmma-plan.ts'

/** How GEMM kernels are launched: on `mma.sync` or on `wgmma`, as their tiles say. */
export const gemmOptions = {
  grid: (d: Dims, c: GemmTiles | WgmmaTiles): [number] | [number, number] =>
    c.path === 'wgmma' ? wgmmaGrid(d, c) : gemmGrid(d, c),
  block: (c: GemmTiles | WgmmaTiles): [number] => (c.path === 'wgmma' ? [wgmmaThreads(c)] : gemmBlock(c)),
  cluster: (c: GemmTiles | WgmmaTiles): number => (c.path === 'wgmma' ? wgmmaCluster(c) : 1),
  blocksPerMultiprocessor: (c: GemmTiles | WgmmaTiles): number =>
    c.path === 'wgmma' ? c.ctasPerMultiprocessor : 1,
} as const
