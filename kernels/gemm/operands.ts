import { packedShape, type WeightFormat } from '../../dsl/format.ts'
import type { DType } from '../../dsl/index.ts'
import type { Kernel } from '../../dsl/kernel.ts'
import {
  type OperandType,
  type WeightFormatName,
  weightFormats,
  type ZeroHandling,
} from '../formats/index.ts'
import type { Activation } from './epilogue.ts'
import { gemmFp8, gemmFp8SiluMul, gemmW4A8Fp8, gemmW4A8Fp8SiluMul } from './fp8.ts'
import type { GemmTiles } from './mma.ts'
import type { GemmShape } from './mma-tiles.ts'
import { gemmW4A8, gemmW4A8Group, gemmW4A8GroupSiluMul, gemmW4A8SiluMul } from './w4a8.ts'
import { gemmW4A16, gemmW4A16SiluMul } from './w4a16.ts'
import { gemmW8A8, gemmW8A8SiluMul } from './w8a8.ts'
import { gemm16, gemm16SiluMul } from './w16.ts'
import { parksSums, scratchShape, type WgmmaTiles } from './wgmma-plan.ts'

/** The constants of a GEMM that a tuner may choose. */
export type TileConstants = GemmTiles | WgmmaTiles

/** What of a product is known before its tiles. */
export interface GemmVariant {
  readonly dtype: 'f16' | 'bf16'
  readonly bias?: boolean
  readonly residual?: boolean
  /** Where formats with zero points subtract them; 'epilogue' unless given. */
  readonly zero?: ZeroHandling
  /** Element type of the output, `dtype` unless given; 'i8' are codes at the scales `outScale`. */
  readonly out?: DType
  /** What is done to the rows of W, which then are N = 2·I for I features. */
  readonly activation?: Activation
}

/** An argument of a product. */
export interface GemmOperand {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly tag?: string
}

/** The kernel of a format. */
export function gemmKernel(format: WeightFormatName, activation?: Activation): Kernel {
  // Constants and arguments are checked when a kernel is prepared; the tables hold kernels of all types.
  const table = activation === 'silu-mul' ? siluMulKernels : kernels
  return table[weightFormats[format].tag] as Kernel
}

/** The kernels by the layout tag of the weights that they read. */
const kernels: Readonly<Record<string, unknown>> = {
  w16: gemm16,
  w8a8: gemmW8A8,
  w4a8: gemmW4A8,
  'w4a8-group': gemmW4A8Group,
  'w4a16-group': gemmW4A16,
  fp8: gemmFp8,
  'w4a8-fp8': gemmW4A8Fp8,
}

const siluMulKernels: Readonly<Record<string, unknown>> = {
  w16: gemm16SiluMul,
  w8a8: gemmW8A8SiluMul,
  w4a8: gemmW4A8SiluMul,
  'w4a8-group': gemmW4A8GroupSiluMul,
  'w4a16-group': gemmW4A16SiluMul,
  fp8: gemmFp8SiluMul,
  'w4a8-fp8': gemmW4A8Fp8SiluMul,
}

/** Formats whose codes are integers beside integers: their kernels know zero points and sums of activations. */
const hasZero = (f: WeightFormat): boolean => f.bits === 4 && f.activations.includes('i8')

/** Formats beside 16-bit activations, whose kernels want to be told the type of the output. */
const hasOut = (f: WeightFormat): boolean => f.activations.includes('f16')

/** Whether CTAs share tiles or put sums of slices aside, and so take `scratch`. */
export const hasScratch = (tiles: TileConstants): tiles is WgmmaTiles =>
  tiles.path === 'wgmma' && (tiles.pieces !== undefined || parksSums(tiles))

/** The same tiles of integers, none of them shared: for kernels that have no `scratch`. */
export function unshared(tiles: TileConstants): TileConstants {
  if (!hasScratch(tiles)) return tiles
  const { pieces: _, ...rest } = tiles
  return rest
}

/** The element type of the activations of a format beside 16-bit activations `dtype` of the model. */
export function activationType(format: WeightFormatName, dtype: 'f16' | 'bf16'): OperandType {
  const { activations }: WeightFormat = weightFormats[format]
  return activations.includes(dtype) ? dtype : activations[0]!
}

/** All constants of the kernel of a format for tiles; the extents of a product only where the tiles' path wants them. */
export function gemmConstants(
  format: WeightFormatName,
  { N, K }: Pick<GemmShape, 'N' | 'K'>,
  tiles: TileConstants,
  { dtype, bias = false, residual = false, zero = 'epilogue', out = dtype, activation }: GemmVariant,
) {
  const f: WeightFormat = weightFormats[format]
  const [Strips, Units, Words] = packedShape(f, N, K)
  return {
    ...tiles,
    ...(tiles.path === 'mma' && { N, K, Strips, Units, Words, ...(activation && { I: N / 2 }) }),
    dtype,
    bias,
    residual,
    ...((hasOut(f) || out !== dtype) && { out }),
    ...(out === 'i8' && { outScale: true }),
    ...(hasScratch(tiles) && { scratch: true }),
    ...(hasZero(f) && { zero }),
    ...(f.group > 0 && { format }),
  }
}

/** The tensor arguments of a product without bias and residual, by name; with the `scratch` of some tiles. */
export function gemmOperands(
  format: WeightFormatName,
  { M, N, K }: GemmShape,
  { dtype, out = dtype, activation }: GemmVariant,
  tiles?: TileConstants,
): Readonly<Record<string, GemmOperand>> {
  const f: WeightFormat = weightFormats[format]
  const x = activationType(format, dtype)
  return {
    w: { dtype: 'u32', shape: packedShape(f, N, K), tag: f.tag },
    x: { dtype: x, shape: [M, K] },
    ...(x !== dtype && { scale: { dtype: 'f16', shape: [N] }, xScale: { dtype: 'f32', shape: [M] } }),
    ...(hasZero(f) && { xSum: { dtype: 'i32', shape: [M] } }),
    ...(format === 'w4a8' && { zero: { dtype: 'u8', shape: [N] } }),
    ...(out === 'i8' && { outScale: { dtype: 'f32', shape: [M] } }),
    ...(tiles && hasScratch(tiles) && { scratch: { dtype: 'i32', shape: scratchShape(tiles) } }),
    out: { dtype: out, shape: [M, activation ? N / 2 : N] },
  }
}
