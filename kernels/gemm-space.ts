import { unitColumns, type WeightFormat } from '../dsl/format.ts'
import { type Space, space, type TuningTarget } from '../dsl/index.ts'
import { type WeightFormatName, weightFormats } from './formats/index.ts'
import { pieceColumns } from './gemm.ts'
import { activationType, type TileConstants } from './gemm-operands.ts'
import { gemmSharedBytes } from './gemm-tiles.ts'
import { partialBytes, type WgmmaTiles, wgmmaPlan, wgmmaSharedBytes } from './gemm-wgmma-plan.ts'

/**
 * The tiles that are worth trying for a format: on `wgmma` where the target and the kernel have it, on `mma.sync`
 * elsewhere. A record is kept for each N, K and M.
 */
export function gemmSpace(format: WeightFormatName): Space<TileConstants> {
  const all = hasMma(format) ? wgmmaSpace(format).or(mmaSpace(format)) : wgmmaSpace(format)
  return all.key(({ N, K, M }) => ({ N: N!, K: K!, M: M! }))
}

const hasWgmma = (target: TuningTarget): boolean => target.name === 'sm_90a'

/** `mma.sync` of these targets multiplies no 8-bit floats. */
const hasMma = (format: WeightFormatName): boolean => activationType(format, 'f16') !== 'e4m3'

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
    .where('wgmma where there is wgmma', (_, target) => !hasWgmma(target))
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

/** Depths of a ring. */
const stages = [2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16] as const

/**
 * Few tokens, integers: the sums of several warpgroups, or of a cluster of two, which have many bytes under way at once.
 * Stages of 16 KiB of weights, or of 8 KiB where activations fill the rest.
 */
const partialSums = () =>
  space({
    path: ['wgmma'],
    tokens: [8, 16, 32, 64, 128],
    rowGroups: [1, 2],
    blocks: [1],
    kGroups: [2, 4],
    split: [1, 2],
    multicast: [1],
    units: [1, 2, 4],
    stages,
    steps: [4],
    staging: [2],
    lag: [0],
    producers: [2],
    ctas: [132, 264],
    ctasPerMultiprocessor: [1, 2],
  })
    .where('four warpgroups at most', (c) => c.rowGroups * c.kGroups <= 4)
    .where('8 or 16 KiB of weights in a stage for few tokens', (c) => {
      const strips = c.rowGroups * c.units
      if (c.tokens <= 32) return strips === 4 || (strips === 2 && c.kGroups === 4)
      return c.units <= 2 && (c.tokens === 128 || strips >= 2)
    })
    .where('two CTAs of a multiprocessor are small', (c) => {
      return (
        c.ctasPerMultiprocessor === 1 || (c.kGroups * c.rowGroups === 2 && c.split === 2 && c.tokens <= 64)
      )
    })
    .where('clusters only where they have work', (c, _, dims) => !dims || c.split === 1 || dims.N! <= 8192)

/** Few tokens, one sum for each row: a wide tile of rows, of tall blocks or of many warpgroups. */
const wideRows = () =>
  space({
    path: ['wgmma'],
    tokens: [8, 16, 32, 64],
    rowGroups: [2, 3, 4],
    blocks: [1, 2],
    kGroups: [1],
    split: [1],
    multicast: [1],
    units: [1, 2],
    stages,
    steps: [2, 4],
    staging: [2],
    lag: [0],
    producers: [1, 2],
    ctas: [132, 264],
    ctasPerMultiprocessor: [1, 2],
  })
    .where('one producer of short stages, two of long ones', (c) => c.producers === c.units || c.blocks === 2)
    .where('a way to be wide', (c) => {
      if (c.blocks === 2) return c.rowGroups === 2 && c.units === 1 && c.ctasPerMultiprocessor === 1
      if (c.rowGroups === 3) return c.tokens === 64 && c.ctasPerMultiprocessor === 1
      return c.units === 2 && c.rowGroups * c.ctasPerMultiprocessor === 4
    })
    .where(
      'short groups only where registers are few',
      (c) => (c.steps === 2) === (c.blocks === 2 && c.tokens === 64),
    )

/** Prompts: the largest tiles that registers hold, one persistent CTA for each multiprocessor. */
const persistentTiles = () =>
  space({
    path: ['wgmma'],
    tokens: [128, 192, 256],
    rowGroups: [2, 3],
    blocks: [1, 2],
    kGroups: [1],
    split: [1],
    multicast: [1, 2],
    units: [1, 2],
    stages,
    steps: [2, 4],
    staging: [2, 4],
    lag: [0, 2],
    producers: [1, 2],
    ctas: [132],
    ctasPerMultiprocessor: [1],
  })
    .where('long stages and two producers for three warpgroups alone', (c) => {
      return c.producers === c.units && (c.units === 1 || c.rowGroups === 3)
    })
    .where('a lag goes with little staging', (c) => c.lag === 0 || c.staging === 2)
    .where(
      'activations for two only of the largest tiles',
      (c) => c.multicast === 1 || c.tokens * c.blocks === 256,
    )
    .where(
      'one block of more than 128 tokens',
      (c) => c.blocks === 1 || (c.tokens === 128 && c.rowGroups === 2),
    )
    .where('tiles between the powers of two as they come', (c) => {
      const between = c.rowGroups === 3 || c.tokens === 192
      return (
        !between || (c.tokens * c.rowGroups === 384 && c.lag === 0 && c.staging === (c.units === 2 ? 2 : 4))
      )
    })

/** Tiles on `wgmma`, in three families as measured on an H200 (2026-11-20 and -21). */
function wgmmaSpace(format: WeightFormatName): Space<TileConstants> {
  const f: WeightFormat = weightFormats[format]
  const x = activationType(format, 'f16')
  const wgmma = (c: TileConstants) => c as WgmmaTiles
  const bytes = (c: WgmmaTiles, depth: number) => wgmmaSharedBytes({ ...c, stages: depth }, f, x)
  // Sums of floating-point numbers must keep their order, so that they do not depend on the tile.
  const families: Space<WgmmaTiles>[] = [
    ...(isExact(format) ? [partialSums()] : []),
    wideRows(),
    persistentTiles(),
  ]
  return (families.reduce((all, each) => all.or(each)) as Space<TileConstants>)
    .where('a target with wgmma', (_, target) => hasWgmma(target))
    .where('as many CTAs as there is room for', (c) => wgmma(c).ctas === 132 * wgmma(c).ctasPerMultiprocessor)
    .where('k-steps that make whole loads', (c) => {
      const { steps } = wgmma(c)
      return steps % (f.steps / f.loads) === 0 && f.steps % steps === 0
    })
    .where('registers for sums and two sets of operands', (tiles) => {
      const c = wgmma(tiles)
      const groups = c.rowGroups * c.kGroups * c.ctasPerMultiprocessor
      const registers = wgmmaPlan(c, f, x).rebalance ? 232 : groups === 2 ? 168 : groups === 3 ? 152 : 96
      const operands = 2 * 4 * c.blocks * c.steps
      return (c.blocks * c.tokens) / 2 + operands + { 2: 48, 3: 64, 4: 32 }[groups]! <= registers
    })
    .where('whole turns of the ring', (c) => {
      const { stages: depth, kGroups, lag } = wgmma(c)
      return depth % kGroups === 0 && depth >= 2 * kGroups && depth > 2 * lag
    })
    .where('the deepest ring that shared memory has room for', (tiles, target) => {
      const c = wgmma(tiles)
      const room = c.ctasPerMultiprocessor === 1 ? target.sharedBytes : halfSharedBytes
      const deeper = stages.find((depth) => depth > c.stages && depth % c.kGroups === 0)
      return bytes(c, c.stages) <= room && (deeper === undefined || bytes(c, deeper) > room)
    })
    .where('sums fit the activations of the ring', (tiles) => {
      const c = wgmma(tiles)
      const plan = wgmmaPlan(c, f, x)
      return partialBytes(c, plan) <= c.stages * plan.slabs * c.tokens * 128
    })
    .where(
      'rows of the output that begin at multiples of 16 bytes',
      (_, __, dims) => !dims || dims.N! % 8 === 0,
    )
    .where('steps that divide K', (c, _, dims) => !dims || dims.K! % (unitColumns * wgmma(c).units) === 0)
    .where(
      'tiles as tall as the tokens at most',
      (c, _, dims) => !dims || wgmma(c).tokens <= tokensUpTo(dims.M!),
    )
    .where('few tiles of tokens', (tiles, _, dims) => {
      const c = wgmma(tiles)
      const most = c.kGroups * c.split === 1 && c.tokens >= 128 ? Number.POSITIVE_INFINITY : 2
      return !dims || tokensUpTo(dims.M!) <= most * c.tokens
    })
}
