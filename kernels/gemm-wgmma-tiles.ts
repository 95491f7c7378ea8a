import { type OperandType, unitColumns, unitRows, type WeightFormat } from '../dsl/format.ts'
import type { GemmShape } from './gemm-tiles.ts'
import { partialBytes, type WgmmaTiles, wgmmaPlan, wgmmaSharedBytes } from './gemm-wgmma-plan.ts'

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
    lag: 0,
    producers: 1,
    ctas: MULTIPROCESSORS * ctasPerMultiprocessor,
    ctasPerMultiprocessor,
    ...wish,
  }
}

/**
 * What integer kernels want: from the times of W4A8 with one scale a row in the shapes of Llama-3-8B (H200, 2026-11-21;
 * docs/decisions/011-wgmma-gemm.md has them).
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

/** Floating-point sums keep their order: no warpgroups along K. */
function orderedWish({ M, N }: GemmShape, format: WeightFormat): Wish {
  if (M <= 16) return { tokens: M <= 8 ? 8 : 16, rowGroups: 2, stages: 8 }
  if (M <= 128) return { tokens: M <= 32 ? 32 : 64, rowGroups: 2, stages: 5 }
  if (format.steps === 4)
    return fullest({ M, N }, [
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
    { tokens: 64, rowGroups: 2, stages: 5 },
    { tokens: 128, rowGroups: 2, stages: 4 },
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
  const wish = complete(x === 'i8' ? exactWish(shape, format) : orderedWish(shape, format))
  const { partial } = wgmmaPlan(wish, format, x)
  const least = partial ? 2 * wish.kGroups : 2
  const room = target.sharedBytes / wish.ctasPerMultiprocessor - (wish.ctasPerMultiprocessor - 1) * 1024
  for (const units of wish.units > 1 ? [wish.units, 1] : [wish.units]) {
    for (let stages = wish.stages; stages >= least; stages -= wish.kGroups) {
      const tiles = { ...wish, units, stages }
      if (wgmmaSharedBytes(tiles, format, x) <= room && (!partial || sumsFit(tiles, format, x))) return tiles
    }
  }
  return undefined
}

const sumsFit = (t: WgmmaTiles, format: WeightFormat, x: OperandType): boolean => {
  const plan = wgmmaPlan(t, format, x)
  return partialBytes(t, plan) <= t.stages * plan.slabs * t.tokens * 128
}
