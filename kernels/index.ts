/**
 * What a weight format of one's own needs to become a GEMM kernel: the body on `mma.sync`, its tiles, and the packing of
 * units. A kernel file that imports its format and calls `gemm` with it is all the registration there is: the compiler
 * reads the sources of both.
 *
 * @module
 */
export { weightFormats } from './formats/index.ts'
export { checkGroups, checkMatrix, eachGroup, packUnits, unpackUnits } from './formats/units.ts'
export type { GemmArguments, GemmConfig, GemmParts, GemmTiles } from './gemm.ts'
export { featureRow, gemm, gemmBlock, gemmGrid } from './gemm.ts'
export { defaultTiles } from './gemm-tiles.ts'
