import {
  each,
  exp2Flushing,
  f32,
  fma,
  type i32,
  laneIdx,
  packF16,
  regs,
  shuffleXor,
  u32,
  unroll,
  voteAny,
} from '../../dsl/index.ts'
import { UNIT } from './arithmetic.ts'

/**
 * The softmax of prompts, row by row as units of tokens go by. A row's probabilities are 2^(score − reference), as f16 where they
 * weigh values. What becomes of a row depends on its own scores alone: tokens that it does not see have probability 0, and a
 * unit of such tokens changes nothing.
 */

/** Rows of a lane: g and g + 8 of its warp's sixteen. */
export const laneRows = 2

/** What probabilities are at most when a reference moves, as a power of two: room below for small ones among f16. */
const TOP_POWER = 7

/** How much larger the largest score may become before the reference moves: 2^(7 + 8) is an f16. */
const HEADROOM = 8

/** The reference of a row that has seen nothing. */
const NO_REFERENCE = -1e30

/** The running softmax of a lane's rows: references, in units of log2, and the lane's share of the sums of probabilities. */
export interface RowState {
  readonly reference: f32[]
  readonly total: f32[]
}

export const rowState = (): RowState => ({
  reference: regs(laneRows, f32(NO_REFERENCE)),
  total: regs(laneRows, f32(0)),
})

/** Forgets what has been seen. */
export function resetState(state: RowState): void {
  for (const r of unroll(laneRows)) {
    state.reference[r] = NO_REFERENCE
    state.total[r] = 0
  }
}

/** Which of a unit's tokens, counted from its first on, the lane's rows see. */
export interface UnitMask {
  readonly last: readonly i32[]
  /** Tokens that a row sees; `isEdge`: some row does not see the first of the unit for that. */
  readonly window: i32
  readonly isEdge: boolean
}

/** The row of accumulator `i`, of the lane's two. */
const rowOf = (i: number): number => (i >> 1) & 1

/** The token of accumulator `i`, less four times the lane of its quad: tokens lie in tiles so that a lane has four consecutive ones. */
const tokenOf = (i: number): number => 16 * (i >> 3) + 2 * (i & 1) + ((i >> 2) & 1)

/** Makes the scores of tokens that rows do not see lower than all others. */
export function hideTokens(scores: f32[], { last, window, isEdge }: UnitMask): void {
  const mine = 4 * (laneIdx & 3)
  const ends = last.map((token) => token - mine)
  for (const i of unroll(scores.length))
    if (tokenOf(i) > ends[rowOf(i)]!) scores[i] = f32(Number.NEGATIVE_INFINITY)
  if (isEdge) {
    for (const i of unroll(scores.length))
      if (tokenOf(i) <= ends[rowOf(i)]! - window) scores[i] = f32(Number.NEGATIVE_INFINITY)
  }
}

/**
 * Makes probabilities of a unit's scores, in place; `scale` takes scores to units of log2. Returns what the rows' sums of values
 * so far must be multiplied by.
 */
export function softmaxUnit(scores: f32[], state: RowState, scale: f32): f32[] {
  const tops = each(laneRows, () => regs(1, f32(Number.NEGATIVE_INFINITY)))
  for (const i of unroll(scores.length)) tops[rowOf(i)]![0] = Math.max(tops[rowOf(i)]![0]!, scores[i]!)
  const factors = each(laneRows, (r) => {
    const before = state.reference[r]!
    const top = maxOfLanes(tops[r]![0]!) * scale
    const reference = top > before + (TOP_POWER + HEADROOM) ? top - TOP_POWER : before
    state.reference[r] = reference
    return exp2Flushing(before - reference)
  })
  const sums = each(laneRows, () => regs(2, f32(0)))
  for (const i of unroll(scores.length)) {
    const r = rowOf(i)
    const probability = exp2Flushing(fma(scores[i]!, scale, -state.reference[r]!))
    scores[i] = probability
    sums[r]![i & 1] = sums[r]![i & 1]! + probability
  }
  for (const r of unroll(laneRows))
    state.total[r] = fma(state.total[r]!, factors[r]!, sums[r]![0]! + sums[r]![1]!)
  return factors
}

/** Brings sums of values to new references, which is rarely anything to do. */
export function rescaleSums(sums: f32[], factors: readonly f32[]): void {
  if (voteAny(factors[0]! !== 1 || factors[1]! !== 1))
    for (const i of unroll(sums.length)) sums[i] = sums[i]! * factors[rowOf(i)]!
}

/** Room for a unit's probabilities as A's registers of each sixteen tokens. */
export const probabilityWords = (): u32[][] => each(UNIT / 16, () => regs(4, u32(0)))

/** Rounds probabilities to f16. */
export function packProbabilities(dst: u32[][], probabilities: readonly f32[]): void {
  dst.forEach((words, h) => {
    for (const i of unroll(4)) {
      const first = 8 * h + 2 * i
      words[i] = u32.bits(packF16(probabilities[first]!, probabilities[first + 1]!))
    }
  })
}

/** 1 over the sum of each row's probabilities. */
export const normsOf = ({ total }: RowState): f32[] => total.map((sum) => 1 / sumOfLanes(sum))

/** The largest of what the four lanes of a row have. */
function maxOfLanes(part: f32): f32 {
  const pair = Math.max(part, shuffleXor(part, 1))
  return Math.max(pair, shuffleXor(pair, 2))
}

/** The sum of what they have. */
function sumOfLanes(part: f32): f32 {
  const pair = part + shuffleXor(part, 1)
  return pair + shuffleXor(pair, 2)
}
