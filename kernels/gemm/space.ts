import { unitColumns, unitRows, type WeightFormat } from '../../dsl/format.ts'
import { type Space, space, type TuningTarget } from '../../dsl/index.ts'
import { type WeightFormatName, weightFormats } from '../formats/index.ts'
import { pieceColumns } from './mma.ts'
import { gemmSharedBytes } from './mma-tiles.ts'
import { activationType, type TileConstants } from './operands.ts'
import { sumSlices, type WgmmaTiles } from './wgmma-plan.ts'
import { provenTiles } from './wgmma-tiles.ts'

/**
 * The tiles that are worth trying for a format: on `wgmma` where the target and the kernel have it, on `mma.sync`
 * elsewhere. A record is kept for each N, K and M.
 */
export function gemmSpace(format: WeightFormatName): Space<TileConstants> {
  const all = hasMma(format) ? wgmmaSpace(format).or(mmaSpace(format)) : wgmmaSpace(format)
  return all.key(({ N, K, M }) => ({ N: N!, K: K!, M: M! }))
}

const hasWgmma = (target: TuningTarget): boolean => target.name === 'sm_90a'

/** Whether a format has kernels on `mma.sync`, which multiplies no 8-bit floats before sm_89. */
export const hasMma = (format: WeightFormatName): boolean => activationType(format, 'f16') !== 'e4m3'

const isExact = (format: WeightFormatName): boolean =>
  (weightFormats[format] as WeightFormat).activations.includes('i8')

/** The next power of two, at least 8: what a tile for M tokens may be. */
const tokensUpTo = (M: number): number =>
  M > 128 && M <= 192 ? 192 : Math.max(8, 2 ** Math.ceil(Math.log2(M)))

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
    .where('no mma.sync where there is wgmma', (_, target) => !hasWgmma(target))
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

/** The tiles that have won somewhere, with rules of the launches in which they may. */
function wgmmaSpace(format: WeightFormatName): Space<TileConstants> {
  const proven = provenTiles(weightFormats[format], activationType(format, 'f16'))
  const each = proven.map((tiles) => space(single(tiles)) as unknown as Space<TileConstants>)
  const wgmma = (c: TileConstants) => c as WgmmaTiles
  return each
    .reduce((all, one) => all.or(one))
    .where('a target with wgmma', (_, target) => hasWgmma(target))
    .where('N a multiple of 8, so that rows begin at multiples of 16 bytes', (_, __, dims) => {
      return !dims || dims.N! % 8 === 0
    })
    .where(`K a multiple of ${unitColumns}, in whole units`, (_, __, dims) => {
      return !dims || dims.K! % unitColumns === 0
    })
    .where('the slices of K that the sums of the format have', (c, _, dims) => {
      return !dims || (wgmma(c).slices ?? 1) === sumSlices(weightFormats[format], dims.K!)
    })
    .where('clusters that split K where rows are few', (c, _, dims) => {
      return !dims || wgmma(c).split === 1 || dims.N! <= 8192
    })
    .where('tiles as tall as the tokens at most', (c, _, dims) => {
      return !dims || wgmma(c).tokens <= Math.max(16, tokensUpTo(dims.M!))
    })
    .where('several bands', (c, _, dims) => {
      const { band, tokens } = wgmma(c)
      return !dims || band === undefined || dims.M! > band * tokens
    })
    .where('weights that are read again stay beside outputs too large for the cache', (c, _, dims) => {
      const { keep, tokens } = wgmma(c)
      return !dims || keep === undefined || (dims.M! > tokens && 2 * dims.M! * dims.N! > CACHE_BYTES)
    })
    .where('halves where the last wave leaves half of the CTAs idle', (c, _, dims) => {
      return !dims || wgmma(c).halves === undefined || cutsHalves(wgmma(c), dims.M!, dims.N!)
    })
    .where('shared tiles where the last of a few waves leaves a tenth of the work undone', (c, _, dims) => {
      if (!dims || wgmma(c).pieces === undefined) return true
      const waves = wavesOf(wgmma(c), dims.M!, dims.N!)
      return waves > 1 && waves < 6 && Math.ceil(waves) > 1.1 * waves
    })
    .where('few tiles of tokens', (tiles, _, dims) => {
      const c = wgmma(tiles)
      const most = c.kGroups * c.split > 1 ? 2 : c.tokens < 128 ? 4 : Number.POSITIVE_INFINITY
      return !dims || tokensUpTo(dims.M!) <= most * c.tokens
    })
}

/** Turns that the CTAs take at the tiles of a product. */
function wavesOf({ tokens, rowGroups, blocks, multicast, ctas }: WgmmaTiles, M: number, N: number): number {
  const rows = Math.ceil(N / (unitRows * rowGroups * blocks * multicast))
  return (Math.ceil(M / tokens) * rows) / Math.floor(ctas / multicast)
}

/** Whether the last wave is behind another one, and half of a wave at most. */
function cutsHalves(tiles: WgmmaTiles, M: number, N: number): boolean {
  const waves = wavesOf(tiles, M, N)
  const last = waves % 1
  return waves > 1 && last > 0 && last <= 0.5
}

/** About what the L2 cache of a Hopper GPU holds for all of its multiprocessors: a half of its 50 MB. */
const CACHE_BYTES = 25e6

/** The axes of one configuration. */
const single = (tiles: WgmmaTiles): Record<string, readonly unknown[]> =>
  Object.fromEntries(Object.entries(tiles).map(([name, value]) => [name, [value]]))
