import { packedShape, type WeightFormat } from '../../dsl/format.ts'
import { type WeightFormatName, weightFormats } from '../formats/index.ts'
import { type GemmTiles, pieceColumns } from './mma.ts'

export interface GemmShape {
  /** Tokens. */
  readonly M: number
  /** Features. */
  readonly N: number
  /** Columns, along which the products are summed. */
  readonly K: number
}

/** The tile constants of a GEMM kernel, and the extents of its packed weights, which make them static. */
export interface GemmConstants extends GemmTiles {
  readonly Strips: number
  readonly Units: number
  readonly Words: number
}

/**
 * What is wanted before the shape and the target have their say.
 *
 * A decode step waits for its weights: few features a CTA, so that there are many, and warps along K, so that each has
 * copies under way. From 9 tokens on, the activations that every CTA reads again count: wider tiles read them less often
 * (the products of a Llama-3-8B layer, 16 tokens, H200, 2026-11-21: 75 µs at 128 features a CTA, 145 at 32). Then what a warp
 * reads for its products: 64 features of 64 tokens in each of four warps take 403 µs at 512 tokens, 32 features of them in
 * each of eight 501, 32 features in each of four 496. Where so large tiles are few, smaller ones are as many as
 * multiprocessors (128 tokens: 145 µs against 235). One warp along K for 16-bit kernels, whose f32 sums must keep their order.
 */
function wish(M: number, N: number, exact: boolean): Omit<GemmTiles, 'path'> {
  if (!exact) {
    if (M <= 16) return { tileM: M <= 8 ? 8 : 16, tileN: 32, tileK: 128, stages: 6, warpsN: 2, warpsK: 1 }
    if (M <= 64) return { tileM: M <= 32 ? 32 : 64, tileN: 64, tileK: 64, stages: 4, warpsN: 4, warpsK: 1 }
    return { tileM: 128, tileN: 128, tileK: 32, stages: 4, warpsN: 4, warpsK: 1 }
  }
  if (M <= 8) return { tileM: 8, tileN: 32, tileK: 512, stages: 4, warpsN: 1, warpsK: 4 }
  if (M <= 16) return { tileM: 16, tileN: 128, tileK: 256, stages: 4, warpsN: 2, warpsK: 2 }
  if (M <= 64) {
    if (N >= MANY_FEATURES) return { tileM: 32, tileN: 256, tileK: 128, stages: 4, warpsN: 4, warpsK: 1 }
    return { tileM: 32, tileN: 128, tileK: 256, stages: 4, warpsN: 2, warpsK: 2 }
  }
  const large = Math.ceil(M / 64) * Math.ceil(N / 256)
  if (large >= MANY_TILES) return { tileM: 64, tileN: 256, tileK: 128, stages: 3, warpsN: 4, warpsK: 1 }
  if (large >= MANY_TILES / 2) return { tileM: 32, tileN: 256, tileK: 128, stages: 4, warpsN: 4, warpsK: 1 }
  return { tileM: 32, tileN: 128, tileK: 256, stages: 4, warpsN: 2, warpsK: 2 }
}

/** Features from which on the widest tiles are as many as multiprocessors. */
const MANY_FEATURES = 16_384

/** Tiles that keep most multiprocessors of a large GPU busy. */
const MANY_TILES = 96

/** Fewer columns are not worth a warp of their own along K: their sums have to be added to the others'. */
const SLICE_COLUMNS = 256

/** Bytes of shared memory that a GEMM takes. */
export function gemmSharedBytes(format: WeightFormat, t: Omit<GemmTiles, 'path'>): number {
  const activations = t.tileM * t.tileK * ((format.steps * 32) / 128)
  const weights = (t.tileN * t.tileK * format.bits) / 8
  const groups = format.group > 0 ? Math.max(t.warpsK, t.tileK / format.group) : 0
  const parameters = (t.tileN / 2) * groups * format.groupWords * 4
  return t.stages * (activations + weights + parameters) + (t.warpsK - 1) * t.tileM * t.tileN * 4
}

/**
 * The tile of a shape where no tuning record has it. The result of a GEMM does not depend on the choice.
 *
 * @param target bounds the shared memory (`Target` of the compiler).
 */
export function defaultTiles(
  format: WeightFormatName | WeightFormat,
  { M, N, K }: GemmShape,
  target: { readonly sharedBytes: number },
): GemmConstants {
  const f: WeightFormat = typeof format === 'string' ? weightFormats[format] : format
  const exact = f.activations.includes('i8')
  // Large groups would make the steps of 16-bit activations long, and the ring short.
  const multiple = exact ? Math.max(pieceColumns(f), f.group) : pieceColumns(f)
  const tiles: { -readonly [Name in Exclude<keyof GemmTiles, 'path'>]: number } = {
    ...wish(M, N, exact),
  }
  // Unpacking takes registers: more warps have fewer sums each.
  if (!exact && f.bits < 16) tiles.warpsN = Math.max(tiles.warpsN, tiles.tileM / 16)
  while (tiles.tileN > 16 && tiles.tileN / 2 >= N) {
    tiles.tileN /= 2
    tiles.warpsN = Math.min(tiles.warpsN, tiles.tileN / 16)
  }
  const fits = (warps: number): boolean =>
    K % (multiple * warps) === 0 && multiple * warps <= tiles.tileK && K / warps >= SLICE_COLUMNS
  while (tiles.warpsK > 1 && !fits(tiles.warpsK)) tiles.warpsK /= 2
  const least = multiple * tiles.warpsK
  // Steps that divide K compute nothing in vain; where none does, the last one is filled with zeros.
  let parts = Math.max(1, Math.floor(tiles.tileK / least))
  while (parts > 1 && K % (least * parts) !== 0) parts--
  tiles.tileK = least * parts
  tiles.stages = Math.max(2, Math.min(tiles.stages, Math.ceil(K / tiles.tileK)))
  while (tiles.stages > 2 && gemmSharedBytes(f, tiles) > target.sharedBytes) tiles.stages--
  const [Strips, Units, Words] = packedShape(f, N, K)
  return { path: 'mma', ...tiles, Strips, Units, Words }
}
