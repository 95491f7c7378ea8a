import { unitColumns, type WeightFormat } from '../dsl/format.ts'
import { type Space, space, type TuningTarget } from '../dsl/index.ts'
import { type WeightFormatName, weightFormats } from './formats/index.ts'
import { pieceColumns } from './gemm.ts'
import { activationType, type TileConstants } from './gemm-operands.ts'
import { gemmSharedBytes } from './gemm-tiles.ts'
import { stageBytes, type WgmmaTiles, wgmmaPlan, wgmmaSharedBytes } from './gemm-wgmma-plan.ts'

/**
 * The tiles that are worth trying for a format: on `wgmma` where the target and the kernel have it, on `mma.sync`
 * elsewhere. A record is kept for each N, K and M.
 */
export function gemmSpace(format: WeightFormatName): Space<TileConstants> {
  return (format === 'w16' ? mmaSpace(format) : wgmmaSpace(format).or(mmaSpace(format))).key(
    ({ N, K, M }) => ({ N: N!, K: K!, M: M! }),
  )
}

const hasWgmma = (target: TuningTarget, format: WeightFormatName): boolean =>
  target.name === 'sm_90a' && format !== 'w16'

const isExact = (format: WeightFormatName): boolean =>
  (weightFormats[format] as WeightFormat).activations.includes('i8')

/** The next power of two, at least 8: what a tile for M tokens may be. */
const tokensUpTo = (M: number): number => Math.max(8, 2 ** Math.ceil(Math.log2(M)))

function mmaSpace(format: WeightFormatName): Space<TileConstants> {
  const f: WeightFormat = weightFormats[format]
  return space({
    path: ['mma'],
    tileM: [8, 16, 32, 64, 128],
    tileN: [32, 64, 128, 256],
    tileK: [128, 256],
    stages: [2, 3, 4],
    warpsN: [1, 2, 4, 8],
    warpsK: [1, 2, 4],
  })
    .where('wgmma where there is wgmma', (_, target) => !hasWgmma(target, format))
    .where('a CTA of 4 or 8 warps', (c) => [4, 8].includes(c.warpsN * c.warpsK))
    .where('floating-point sums keep their order', (c) => c.warpsK === 1 || isExact(format))
    .where('warps along K for few tokens', (c) => c.warpsK <= (c.tileM <= 16 ? 4 : c.tileM <= 32 ? 2 : 1))
    .where('eight warps for large tiles', (c) => c.warpsN * c.warpsK === 4 || c.tileM * c.tileN >= 8192)
    .where('operands that serve several products', (c) => (c.tileN / 16 / c.warpsN) * (c.tileM / 8) >= 2)
    .where('whole strips for each warp', (c) => c.tileN % (16 * c.warpsN) === 0)
    .where('whole units for each warp along K', (c) => c.tileK % (pieceColumns(f) * c.warpsK) === 0)
    .where('whole groups for each warp along K', (c) => f.group === 0 || c.tileK % (f.group * c.warpsK) === 0)
    .where('accumulators leave registers for operands', (c, target) => {
      const accumulators = (c.tileN / 16 / c.warpsN) * (c.tileM / 8) * 4
      return accumulators + 64 <= Math.min(target.registersPerThread, 65536 / (32 * c.warpsN * c.warpsK))
    })
    .where('the deepest ring that shared memory has room for', (c, target) => {
      const fits = (stages: number) => gemmSharedBytes(f, { ...c, stages }) <= target.sharedBytes
      return fits(c.stages) && (c.stages === 4 || !fits(c.stages + 1))
    })
    .where('steps that divide K', (c, _, dims) => dims === undefined || dims.K! % c.tileK === 0)
    .where('tiles as tall as the tokens at most', (c, _, dims) => !dims || c.tileM <= tokensUpTo(dims.M!))
    .where(
      'few tiles of tokens',
      (c, _, dims) => dims === undefined || Math.min(64, dims.M!) <= 2 * c.tileM,
    ) as Space<TileConstants>
}

/** Shared memory that a CTA may take where two share a multiprocessor: of 228 KiB, 1 KiB for each is the system's. */
const halfSharedBytes = 113 * 1024

/**
 * Three families, as measured on an H200 (2026-11-20): sums of several warpgroups or of a cluster of two for few tokens,
 * which need many bytes under way; one sum for each warpgroup with a wide tile of rows; and for prompts the largest tiles
 * that registers hold, with activations sent to a pair of CTAs.
 */
function wgmmaSpace(format: WeightFormatName): Space<TileConstants> {
  const f: WeightFormat = weightFormats[format]
  const x = activationType(format, 'f16')
  const bytes = (c: WgmmaTiles, stages: number) => wgmmaSharedBytes({ ...c, stages }, f, x)
  return space({
    path: ['wgmma'],
    tokens: [8, 16, 32, 64, 128, 256],
    rowGroups: [1, 2, 4],
    blocks: [1, 2],
    kGroups: [1, 2, 4],
    split: [1, 2],
    multicast: [1, 2],
    units: [1, 2, 4],
    stages: [2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16],
    steps: [2, 4],
    staging: [2, 4],
    lag: [0, 2],
    producers: [1, 2],
    ctas: [132, 264],
    ctasPerMultiprocessor: [1, 2],
  })
    .where('a target with wgmma', (_, target) => hasWgmma(target, format))
    .where('as many CTAs as there is room for', (c) => c.ctas === 132 * c.ctasPerMultiprocessor)
    .where('floating-point sums keep their order', (c) => isExact(format) || c.kGroups * c.split === 1)
    .where('two or four warpgroups', (c) => [2, 4].includes(c.rowGroups * c.kGroups))
    .where('a family', (c) => isWgmmaFamily(c))
    .where(
      'k-steps that make whole loads',
      (c) => c.steps % (f.steps / f.loads) === 0 && f.steps % c.steps === 0,
    )
    .where('registers for sums and two sets of operands', (c) => {
      const groups = c.rowGroups * c.kGroups * c.ctasPerMultiprocessor
      const registers = wgmmaPlan(c, f, x).rebalance ? 232 : groups === 2 ? 168 : 96
      const operands = 2 * 4 * c.blocks * c.steps
      return (c.blocks * c.tokens) / 2 + operands + (groups === 2 ? 48 : 32) <= registers
    })
    .where('whole turns of the ring', (c) => c.stages % c.kGroups === 0 && c.stages >= 2 * c.kGroups)
    .where('the deepest ring that shared memory has room for', (c, target) => {
      const room = c.ctasPerMultiprocessor === 1 ? target.sharedBytes : halfSharedBytes
      const deeper = [3, 4, 5, 6, 7, 8, 10, 12, 14, 16].find((s) => s > c.stages && s % c.kGroups === 0)
      return bytes(c, c.stages) <= room && (deeper === undefined || bytes(c, deeper) > room)
    })
    .where('sums fit the ring', (c) => {
      const plan = wgmmaPlan(c, f, x)
      return !plan.partial || stageBytes(c, f, x) * c.stages > c.kGroups * c.tokens * (plan.rows + 4) * 8
    })
    .where('steps that divide K', (c, _, dims) => !dims || dims.K! % (unitColumns * c.units) === 0)
    .where('tiles as tall as the tokens at most', (c, _, dims) => !dims || c.tokens <= tokensUpTo(dims.M!))
    .where(
      'few tiles of tokens',
      (c, _, dims) => !dims || tokensUpTo(dims.M!) <= mostTokenTiles(c) * c.tokens,
    )
    .where(
      'clusters only where they have work',
      (c, _, dims) => dims === undefined || c.split === 1 || dims.N! <= 8192,
    ) as Space<TileConstants>
}

/** Prompts take any number of tiles of 128 tokens or more; sums of several warpgroups have a CTA for each tile. */
function mostTokenTiles(c: WgmmaTiles): number {
  if (c.kGroups * c.split > 1) return 2
  return c.tokens >= 128 ? Number.POSITIVE_INFINITY : 2
}

function isWgmmaFamily(c: WgmmaTiles): boolean {
  const { tokens, rowGroups, blocks, kGroups, split, multicast, units, steps, producers } = c
  const pairs = c.ctasPerMultiprocessor === 2
  const large = kGroups === 1 && tokens >= 128
  if (!large && (multicast > 1 || c.staging > 2 || c.lag > 0)) return false
  if (kGroups > 1) {
    // Stages of 16 KiB of weights for few tokens, of 8 KiB where activations fill the rest.
    const wide = tokens <= 32 ? rowGroups * units === 4 : tokens === 64 ? rowGroups * units >= 2 : units <= 2
    return (
      wide &&
      tokens <= 128 &&
      rowGroups <= 2 &&
      units <= (tokens <= 32 ? 4 : 2) &&
      blocks === 1 &&
      steps === 4 &&
      producers === 2 &&
      (!pairs || (kGroups === 2 && rowGroups === 1 && split === 2 && tokens <= 64))
    )
  }
  if (split > 1 || (blocks === 2 && rowGroups !== 2)) return false
  if (!large) {
    const tall = rowGroups === (pairs ? 2 : 4) && blocks === 1 && units === 2 && producers === 2
    const wide = rowGroups === 2 && blocks === 2 && units === 1 && producers === 1 && !pairs
    return (tall || wide) && steps === (tokens === 64 && blocks === 2 ? 2 : 4)
  }
  const persistent = rowGroups === 2 && units === 1 && producers === 1 && !pairs
  const shared = multicast === 1 || tokens * blocks === 256
  return persistent && shared && blocks * tokens <= 256 && (c.staging === 2 || c.lag === 0)
}
