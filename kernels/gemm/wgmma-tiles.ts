import { type OperandType, unitColumns, unitRows, type WeightFormat } from '../../dsl/format.ts'
import type { GemmShape } from './mma-tiles.ts'
import { partialBytes, sumSlices, type WgmmaTiles, wgmmaPlan, wgmmaSharedBytes } from './wgmma-plan.ts'

type Wish = Partial<WgmmaTiles> & Pick<WgmmaTiles, 'tokens' | 'stages'>

/** Multiprocessors of an H100 or H200 in its SXM form. */
const MULTIPROCESSORS = 132

const complete = (wish: Wish): WgmmaTiles => {
  const ctasPerMultiprocessor = wish.ctasPerMultiprocessor ?? 1
  return {
    path: 'wgmma',
    rowGroups: 1,
    blocks: 1,
    kGroups: 1,
    split: 1,
    multicast: 1,
    units: 1,
    steps: 4,
    staging: 2,
    producers: 1,
    ctas: MULTIPROCESSORS * ctasPerMultiprocessor,
    ctasPerMultiprocessor,
    ...wish,
  }
}

/**
 * What integer kernels want: from the times of W4A8 with one scale a row in the shapes of Llama-3-8B (H200, 2026-11-21;
 * docs/decisions/016-wgmma-gemm.md has them).
 *
 * Up to 256 tokens the bytes that come into each multiprocessor count, and how many copies are under way: few rows a CTA
 * where the matrix has few, the warpgroups sharing K; many where it has many.
 */
function exactWish({ M, N, K }: GemmShape, format: WeightFormat): Wish {
  const strips = Math.ceil(N / unitRows)
  const isTall = strips > 2 * MULTIPROCESSORS
  const isDeep = K >= 8192
  if (M <= 16) {
    const tokens = M <= 8 ? 8 : 16
    if (isTall) return { tokens, rowGroups: 2, units: 2, stages: 5, producers: 2, ctasPerMultiprocessor: 2 }
    return isDeep
      ? { tokens, kGroups: 4, units: 3, stages: 12, producers: 2 }
      : { tokens, kGroups: 4, units: 2, stages: 16, producers: 2 }
  }
  if (M <= 64) {
    if (isTall) return { tokens: M <= 32 ? 32 : 64, rowGroups: 4, units: 2, stages: 4, producers: 2 }
    if (strips * Math.ceil(M / 32) <= MULTIPROCESSORS)
      return { tokens: 32, kGroups: 4, units: 2, stages: 12, producers: 2 }
    return { tokens: 64, kGroups: 2, units: 2, stages: 8, producers: 2 }
  }
  if (M <= 256 && !isTall) {
    if (M <= 128 && strips * Math.ceil(M / 64) <= MULTIPROCESSORS)
      return isDeep
        ? { tokens: 128, kGroups: 2, split: 2, stages: 10 }
        : { tokens: 64, kGroups: 2, units: 2, stages: 8, producers: 2 }
    if (strips * Math.ceil(M / 128) <= MULTIPROCESSORS) return { tokens: 128, kGroups: 2, stages: 10 }
    return { tokens: 64, rowGroups: 3, units: 2, stages: 5, producers: 2 }
  }
  return fullest({ M, N }, [
    { tokens: 128, rowGroups: 2, units: 2, stages: 4, producers: 2 },
    // Group parameters take registers, of which three warpgroups have few.
    format.group > 0
      ? { tokens: 128, rowGroups: 3, stages: 6, steps: 2 }
      : { tokens: 128, rowGroups: 3, units: 2, stages: 3, producers: 2 },
    { tokens: 128, rowGroups: 2, blocks: 2, stages: 5, steps: 2 },
    { tokens: 256, rowGroups: 2, stages: 4, steps: 2, staging: 4 },
  ])
}

/**
 * Floating-point sums keep their order: warpgroups and CTAs along K have a slice each, where sums have slices. A chain of
 * products of 64 rows takes its time, so as many multiprocessors as possible have one, and copies far ahead.
 */
function orderedWish({ M, N, K }: GemmShape, format: WeightFormat): Wish {
  const slices = sumSlices(format, K)
  const strips = Math.ceil(N / unitRows)
  const isTall = strips > 2 * MULTIPROCESSORS
  if (slices > 1 && M <= 128) {
    const tokens = M <= 8 ? 8 : M <= 16 ? 16 : M <= 32 ? 32 : M <= 64 ? 64 : 128
    return { tokens, split: slices, slices, units: M <= 64 ? 2 : 1, steps: 8, stages: 12, producers: 2 }
  }
  if (slices > 1) return { tokens: 128, rowGroups: 2, slices, stages: 6 }
  if (M <= 16) {
    const tokens = M <= 8 ? 8 : 16
    return isTall
      ? { tokens, rowGroups: 4, stages: 10, producers: 2 }
      : { tokens, units: 2, stages: 12, producers: 2 }
  }
  if (M <= 128) {
    const tokens = M <= 32 || (M <= 64 && strips <= MULTIPROCESSORS / 2) ? 32 : 64
    if (isTall && M > 64) return { tokens: 128, rowGroups: 2, stages: 6 }
    if (isTall) return { tokens, rowGroups: format.steps === 4 ? 2 : 4, stages: 8, producers: 2 }
    return strips * Math.ceil(M / tokens) <= MULTIPROCESSORS
      ? { tokens, stages: 14, producers: 2 }
      : { tokens, rowGroups: 2, stages: 8, producers: 2 }
  }
  if (format.steps === 4)
    return fullest({ M, N }, [
      { tokens: 64, rowGroups: 2, stages: 8, producers: 2 },
      { tokens: 128, rowGroups: 2, stages: 6 },
      { tokens: 256, rowGroups: 2, stages: 4, steps: 2 },
    ])
  // A whole unit beside 256 tokens of 16 bits would leave room for two stages.
  if (format.group === 0)
    return fullest({ M, N }, [
      { tokens: 128, rowGroups: 2, stages: 3 },
      { tokens: 128, rowGroups: 3, units: 0.5, stages: 5, steps: 2 },
      { tokens: 256, rowGroups: 2, units: 0.5, stages: 4, steps: 2 },
    ])
  return fullest({ M, N }, [
    { tokens: 64, rowGroups: 2, stages: 6 },
    { tokens: 128, rowGroups: 2, stages: 6 },
    { tokens: 256, rowGroups: 2, units: 0.5, stages: 5, producers: 2 },
  ])
}

/** The tiles that leave the fewest multiprocessors idle; of several, the largest. */
function fullest({ M, N }: Pick<GemmShape, 'M' | 'N'>, wishes: readonly Wish[]): Wish {
  const cost = ({ tokens, rowGroups = 1, blocks = 1 }: Wish): number => {
    const rows = unitRows * rowGroups * blocks
    const waves = Math.ceil((Math.ceil(M / tokens) * Math.ceil(N / rows)) / MULTIPROCESSORS)
    // Smaller tiles read their operands more often: a few percent.
    return waves * rows * tokens * (1 + 1024 / (rows * tokens))
  }
  return wishes.reduce((best, wish) => (cost(wish) <= cost(best) ? wish : best))
}

/** Shared memory of a CTA on sm_90a, and what a multiprocessor keeps for each. */
const SHARED_BYTES = 227 * 1024
const RESERVED_BYTES = 1024

/** The wished tiles with as many stages as fit shared memory, or `undefined` if too few do. */
function fitted(
  wish: Wish,
  format: WeightFormat,
  x: OperandType,
  sharedBytes: number,
): WgmmaTiles | undefined {
  const tiles = complete(wish)
  const plan = wgmmaPlan(tiles, format, x)
  const ctas = tiles.ctasPerMultiprocessor
  const room = Math.floor((sharedBytes + RESERVED_BYTES) / ctas) - RESERVED_BYTES
  for (let stages = tiles.stages; stages >= 2 * tiles.kGroups; stages -= tiles.kGroups) {
    const fewer = { ...tiles, stages }
    const sumsFit = partialBytes(fewer, plan) <= stages * plan.activationBytes
    if (wgmmaSharedBytes(fewer, format, x) <= room && sumsFit) return fewer
  }
  return undefined
}

/**
 * Tiles on `wgmma` of a shape where no tuning record has it, or `undefined` where `wgmma` cannot: K is a multiple of 128
 * there, N of 8. The result of a GEMM does not depend on the choice.
 *
 * @param target bounds the shared memory.
 */
export function defaultWgmmaTiles(
  format: WeightFormat,
  shape: GemmShape,
  x: OperandType,
  target: { readonly sharedBytes: number },
): WgmmaTiles | undefined {
  if (shape.K % unitColumns !== 0 || shape.N % 8 !== 0 || !format.activations.includes(x)) return undefined
  const wish = x === 'i8' ? exactWish(shape, format) : orderedWish(shape, format)
  return (
    fitted(wish, format, x, target.sharedBytes) ??
    fitted({ ...wish, units: 1 }, format, x, target.sharedBytes)
  )
}

/** Of each of these some product took least time on an H200 (2026-11-21), 4-bit weights beside 8-bit activations. */
const provenExact: readonly Wish[] = [
  { tokens: 8, kGroups: 4, units: 2, stages: 16, producers: 2 },
  { tokens: 8, kGroups: 4, units: 3, stages: 12, producers: 2 },
  { tokens: 8, kGroups: 2, split: 2, units: 2, stages: 8, producers: 2, ctasPerMultiprocessor: 2 },
  { tokens: 8, rowGroups: 2, units: 2, stages: 5, producers: 2, ctasPerMultiprocessor: 2 },
  { tokens: 8, rowGroups: 4, units: 2, stages: 5, producers: 2 },
  { tokens: 16, kGroups: 4, units: 2, stages: 16, producers: 2 },
  { tokens: 16, kGroups: 4, units: 3, stages: 12, producers: 2 },
  { tokens: 16, kGroups: 2, split: 2, units: 4, stages: 8, producers: 2 },
  { tokens: 16, kGroups: 4, split: 2, units: 2, stages: 16, producers: 2 },
  { tokens: 16, rowGroups: 2, units: 2, stages: 5, producers: 2, ctasPerMultiprocessor: 2 },
  { tokens: 16, rowGroups: 4, units: 2, stages: 4, producers: 2 },
  { tokens: 32, kGroups: 4, units: 2, stages: 12, producers: 2 },
  { tokens: 32, kGroups: 2, rowGroups: 2, units: 2, stages: 8, producers: 2 },
  { tokens: 32, rowGroups: 4, units: 2, stages: 5, producers: 2 },
  { tokens: 64, kGroups: 2, units: 2, stages: 8, producers: 2 },
  { tokens: 64, kGroups: 2, split: 2, units: 2, stages: 8, producers: 2 },
  { tokens: 64, rowGroups: 3, units: 2, stages: 5, producers: 2 },
  { tokens: 64, rowGroups: 4, units: 2, stages: 4, producers: 2 },
  { tokens: 64, rowGroups: 2, blocks: 2, stages: 8, steps: 2, producers: 2 },
  { tokens: 128, kGroups: 2, stages: 10 },
  { tokens: 128, kGroups: 2, split: 2, stages: 10 },
  { tokens: 128, rowGroups: 2, units: 2, stages: 4, producers: 2 },
  { tokens: 128, rowGroups: 2, stages: 8, staging: 4 },
  { tokens: 128, rowGroups: 3, units: 2, stages: 3, producers: 2 },
  { tokens: 128, rowGroups: 3, stages: 6, steps: 2, staging: 4 },
  { tokens: 128, rowGroups: 2, blocks: 2, stages: 5, steps: 2 },
  { tokens: 128, rowGroups: 2, blocks: 2, multicast: 2, stages: 5, steps: 2 },
  { tokens: 256, rowGroups: 2, stages: 4, steps: 2, staging: 4 },
  { tokens: 256, rowGroups: 2, stages: 5, steps: 2 },
  { tokens: 256, rowGroups: 2, multicast: 2, stages: 5, steps: 2 },
  { tokens: 256, rowGroups: 2, multicast: 2, stages: 5 },
  { tokens: 256, rowGroups: 2, multicast: 2, stages: 5, producers: 2 },
  { tokens: 128, rowGroups: 2, blocks: 2, keep: 'weights', multicast: 2, stages: 5, steps: 2 },
  { tokens: 256, rowGroups: 2, keep: 'weights', multicast: 2, stages: 5, steps: 2 },
  { tokens: 256, rowGroups: 2, keep: 'weights', multicast: 2, stages: 4, steps: 2, staging: 4 },
  { tokens: 128, rowGroups: 2, units: 2, pieces: 2, stages: 4, producers: 2 },
  { tokens: 128, rowGroups: 2, blocks: 2, pieces: 2, stages: 5, steps: 2 },
  { tokens: 128, rowGroups: 3, pieces: 2, stages: 6, steps: 2 },
  { tokens: 256, rowGroups: 2, pieces: 2, stages: 5, steps: 2 },
  { tokens: 32, rowGroups: 3, split: 4, units: 2, stages: 6, producers: 2 },
  { tokens: 64, rowGroups: 2, split: 2, stages: 12, producers: 2 },
  { tokens: 128, rowGroups: 3, split: 4, stages: 7, steps: 2 },
  { tokens: 128, rowGroups: 2, split: 2, stages: 9, producers: 2 },
  { tokens: 128, rowGroups: 2, units: 2, halves: true, stages: 4, producers: 2 },
  { tokens: 128, rowGroups: 2, blocks: 2, halves: true, stages: 5, steps: 2 },
  { tokens: 256, rowGroups: 2, halves: true, stages: 4, steps: 2, staging: 4 },
  { tokens: 256, rowGroups: 2, halves: true, stages: 5, steps: 2 },
]

/** As `provenExact`, of 16-bit floats. */
const provenOrdered: readonly Wish[] = [
  { tokens: 8, stages: 20, producers: 2 },
  { tokens: 8, stages: 12, producers: 2, ctasPerMultiprocessor: 2 },
  { tokens: 8, units: 2, stages: 12, producers: 2 },
  { tokens: 8, units: 2, steps: 8, stages: 12, producers: 2 },
  { tokens: 8, rowGroups: 2, units: 2, steps: 8, stages: 8, producers: 2 },
  { tokens: 16, units: 2, steps: 8, stages: 12, producers: 2 },
  { tokens: 16, rowGroups: 2, units: 2, steps: 8, stages: 7, producers: 2 },
  { tokens: 32, units: 2, steps: 8, stages: 8, producers: 2 },
  { tokens: 32, rowGroups: 2, units: 2, steps: 8, stages: 6, producers: 2 },
  { tokens: 64, units: 2, steps: 8, stages: 5, producers: 2 },
  { tokens: 64, rowGroups: 2, units: 2, steps: 8, stages: 4, producers: 2 },
  { tokens: 64, steps: 8, stages: 10, producers: 2 },
  { tokens: 64, rowGroups: 2, steps: 8, stages: 8, producers: 2 },
  { tokens: 128, steps: 8, stages: 6, producers: 2 },
  { tokens: 256, stages: 3, producers: 2 },
  { tokens: 8, rowGroups: 2, stages: 8 },
  { tokens: 8, rowGroups: 2, units: 2, stages: 5, producers: 2, ctasPerMultiprocessor: 2 },
  { tokens: 8, rowGroups: 4, stages: 10, producers: 2 },
  { tokens: 16, stages: 20, producers: 2 },
  { tokens: 16, units: 2, stages: 12, producers: 2 },
  { tokens: 16, rowGroups: 2, stages: 8 },
  { tokens: 16, rowGroups: 2, stages: 10, producers: 2, ctasPerMultiprocessor: 2 },
  { tokens: 16, rowGroups: 4, stages: 10, producers: 2 },
  { tokens: 32, stages: 14, producers: 2 },
  { tokens: 32, rowGroups: 2, stages: 8, producers: 2 },
  { tokens: 32, rowGroups: 4, stages: 6, producers: 2 },
  { tokens: 64, stages: 10, producers: 2 },
  { tokens: 64, rowGroups: 2, stages: 6 },
  { tokens: 64, rowGroups: 4, stages: 5, producers: 2 },
  { tokens: 128, stages: 7, producers: 2 },
  { tokens: 128, rowGroups: 2, stages: 6 },
  { tokens: 128, rowGroups: 2, multicast: 2, stages: 6 },
  { tokens: 128, rowGroups: 3, units: 0.5, stages: 5, steps: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, stages: 4, steps: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, stages: 5, producers: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, multicast: 2, stages: 4, steps: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, multicast: 2, stages: 5, producers: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, multicast: 2, band: 4, stages: 4, steps: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, multicast: 2, band: 8, stages: 4, steps: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, multicast: 2, band: 8, stages: 5, producers: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, band: 4, stages: 5, producers: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, multicast: 2, keep: 'weights', stages: 4, steps: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, multicast: 2, keep: 'weights', band: 8, stages: 4, steps: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, multicast: 2, keep: 'weights', band: 4, stages: 5, producers: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, multicast: 2, keep: 'weights', band: 8, stages: 5, producers: 2 },
  { tokens: 128, rowGroups: 2, multicast: 2, keep: 'weights', band: 4, stages: 6 },
  { tokens: 128, rowGroups: 2, multicast: 2, keep: 'weights', band: 4, stages: 6, producers: 2 },
  { tokens: 128, rowGroups: 2, multicast: 2, band: 8, stages: 6 },
  { tokens: 128, rowGroups: 2, band: 8, stages: 6 },
  { tokens: 128, rowGroups: 2, halves: true, stages: 6 },
  { tokens: 256, rowGroups: 2, units: 0.5, halves: true, stages: 4, steps: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, halves: true, stages: 5, producers: 2 },
]

/** As `provenExact`, of 8-bit floats, whose k-steps are as those of integers. */
const provenShort: readonly Wish[] = [
  ...provenExact.filter(
    ({ kGroups = 1, split = 1, pieces }) => kGroups * split === 1 && pieces === undefined,
  ),
  { tokens: 8, stages: 24, producers: 2 },
  { tokens: 8, units: 2, stages: 12, producers: 2 },
  { tokens: 16, stages: 22, producers: 2 },
  { tokens: 16, units: 2, stages: 11, producers: 2 },
  { tokens: 32, stages: 18, producers: 2 },
  { tokens: 32, stages: 8, producers: 2, ctasPerMultiprocessor: 2 },
  { tokens: 64, stages: 14, producers: 2 },
  { tokens: 64, rowGroups: 2, stages: 8, producers: 2 },
  { tokens: 64, rowGroups: 3, stages: 6, producers: 2 },
  { tokens: 128, stages: 9, producers: 2 },
]

/** As `provenOrdered`, of sums in slices that warpgroups and CTAs have one each, or that wait for the next one's. */
const provenSlices: readonly Wish[] = [
  { tokens: 8, split: 2, units: 2, steps: 8, stages: 16, producers: 2 },
  { tokens: 8, split: 2, units: 2, steps: 8, stages: 12, producers: 2 },
  { tokens: 8, kGroups: 2, units: 2, steps: 8, stages: 16, producers: 2 },
  { tokens: 16, split: 2, units: 2, steps: 8, stages: 12, producers: 2 },
  { tokens: 16, kGroups: 2, units: 2, steps: 8, stages: 12, producers: 2 },
  { tokens: 32, split: 2, units: 2, steps: 8, stages: 8, producers: 2 },
  { tokens: 32, kGroups: 2, units: 2, steps: 8, stages: 8, producers: 2 },
  { tokens: 64, split: 2, units: 2, steps: 8, stages: 5, producers: 2 },
  { tokens: 64, kGroups: 2, steps: 8, stages: 10, producers: 2 },
  { tokens: 128, split: 2, steps: 8, stages: 6, producers: 2 },
  { tokens: 128, kGroups: 2, stages: 6, producers: 2 },
  { tokens: 128, rowGroups: 2, split: 2, stages: 5, producers: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, held: 18, staging: 8, stages: 4, producers: 2 },
  { tokens: 256, rowGroups: 2, units: 0.5, held: 18, staging: 8, multicast: 2, stages: 4, producers: 2 },
  {
    ...{ tokens: 256, rowGroups: 2, units: 0.5, held: 18, staging: 8, multicast: 2, stages: 4, producers: 2 },
    ...{ keep: 'weights', band: 8 },
  },
]

/** Whether a wish for other formats suits this one: whole loads in a group of k-steps. */
const canCompute = (tiles: WgmmaTiles, format: WeightFormat): boolean =>
  tiles.steps % (format.steps / format.loads) === 0

/** The tiles on `wgmma` that are worth a tuner's time for a format. */
export function provenTiles(format: WeightFormat, x: OperandType): readonly WgmmaTiles[] {
  const whole = x === 'i8' ? provenExact : x === 'e4m3' ? provenShort : provenOrdered
  const slices = sumSlices(format, Number.POSITIVE_INFINITY)
  // Beside two sets of sums the registers have no room for the fragments of eight k-steps.
  const alone = whole.filter(({ halves, steps }) => !halves && steps !== 8)
  const wishes =
    slices === 1 ? whole : [...whole, ...[...alone, ...provenSlices].map((wish) => ({ ...wish, slices }))]
  const found = new Map<string, WgmmaTiles>()
  for (const wish of wishes) {
    const tiles = fitted(wish, format, x, SHARED_BYTES)
    if (tiles && canCompute(tiles, format)) found.set(JSON.stringify(tiles), tiles)
  }
  return [...found.values()]
}
