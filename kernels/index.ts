/**
 * What a weight format of one's own needs to become a GEMM kernel: the bodies on `mma.sync` and on `wgmma`, their tiles,
 * and the packing of units. A kernel file that imports its format and calls `gemm` with it is all the registration there
 * is: the compiler reads the sources of both.
 *
 * @module
 */
export { weightFormats } from './formats/index.ts'
export { checkGroups, checkMatrix, eachGroup, packUnits, unpackUnits } from './formats/units.ts'
export type { GemmArguments, GemmConfig, GemmParts, GemmTiles } from './gemm/mma.ts'
export { featureRow, gemm, gemmBlock, gemmGrid } from './gemm/mma.ts'
export { defaultTiles } from './gemm/mma-tiles.ts'
export { gemmOptions } from './gemm/options.ts'
export { gemmWgmma } from './gemm/wgmma.ts'
export type { WgmmaTiles } from './gemm/wgmma-plan.ts'
export type { WgmmaArguments, WgmmaConfig, WgmmaParts } from './gemm/wgmma-product.ts'
export { defaultWgmmaTiles } from './gemm/wgmma-tiles.ts'
