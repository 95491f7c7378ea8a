import { each, type f32, type i32, laneIdx, packBf16, packF16, u32 } from '../dsl/index.ts'
import { ceilDiv } from '../dsl/math.ts'

/** How eight lanes share a head's vector, and what they do with it between them. */

/** Lanes that share a head's vector of one token; a warp has four tokens. */
export const HEAD_LANES = 8

/** The shape of a head: `D` elements, of which the first `R` are rotated. */
export interface HeadShape {
  readonly D: number
  readonly R: number
}

/** Two runs of columns that a lane has: where they are rotated, the partners of each other. */
export interface RunPair {
  /** The first columns of the runs. */
  readonly columns: readonly [i32, i32]
  /** Where the first run's cosines are among the R/2 of a position; of no use where `rotated` does not hold. */
  readonly angle: i32
  /** Whether the lane is the owner, and not one that has a copy because there are fewer pairs than lanes. */
  readonly owned: boolean
  readonly rotated: boolean
}

/** Columns of a run: one access. */
export const runColumns = (D: number): number => (D < 128 && D % 48 !== 0 ? 4 : 8)

/** How many pairs a lane has. */
export const pairsPerLane = (D: number): number => ceilDiv(D / (2 * runColumns(D)), HEAD_LANES)

/**
 * The columns of pair `index`. Blocks of R columns have their partners at a distance of R/2; where R does not divide D, the
 * columns behind the rotated ones are paired as neighbours.
 */
export function pairColumns({ D, R }: HeadShape, index: i32): [i32, i32] {
  const run = runColumns(D)
  const inBlock = R / 2 / run
  const rest = index % inBlock
  const column = (2 * index - rest) * run
  if (D % R === 0) return [column, column + R / 2]
  return index < inBlock
    ? [index * run, index * run + R / 2]
    : [R + 2 * (index - inBlock) * run, R + (2 * (index - inBlock) + 1) * run]
}

/** Device: the calling lane's runs. Lanes left over have those of the last pair. */
export function laneRuns(shape: HeadShape): RunPair[] {
  const { D, R } = shape
  const pairs = D / (2 * runColumns(D))
  const rotated = R / 2 / runColumns(D)
  return each(pairsPerLane(D), (i) => {
    const full = (i + 1) * HEAD_LANES <= pairs
    const own = (laneIdx & (HEAD_LANES - 1)) + i * HEAD_LANES
    const index = full ? own : Math.min(own, pairs - 1)
    return {
      columns: pairColumns(shape, index),
      angle: index * runColumns(D),
      owned: full || own < pairs,
      rotated: rotated === pairs || index < rotated,
    }
  })
}

/**
 * The bits of a column's number, in the order in which the Hadamard transform goes through them: within a run, between the
 * runs of a pair, between the pairs of a lane and between lanes. Floats are rounded in this order.
 */
export function hadamardBits({ D, R }: HeadShape): number[] {
  const inRun = Math.log2(runColumns(D))
  const between = Math.log2(R / 2)
  const others = Array.from({ length: Math.log2(D) - inRun }, (_, i) => inRun + i).filter(
    (bit) => bit !== between,
  )
  const lanes = others.slice(0, 3)
  return [...Array.from({ length: inRun }, (_, i) => i), between, ...others.slice(3), ...lanes]
}

/** Device: floats rounded to `dtype`, two to a word. */
export const halfWords = (values: readonly f32[], dtype: 'f16' | 'bf16'): u32[] =>
  each(values.length / 2, (i) => {
    const [low, high] = [values[2 * i]!, values[2 * i + 1]!]
    return u32.bits(dtype === 'bf16' ? packBf16(low, high) : packF16(low, high))
  })
