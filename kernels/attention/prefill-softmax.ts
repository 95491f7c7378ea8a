import {
  each,
  exp2Flushing,
  f32,
  fma,
  i32,
  laneIdx,
  packF16,
  rcp,
  regs,
  shuffleXor,
  u32,
  unroll,
  voteAny,
} from '../../dsl/index.ts'
import { UNIT } from './arithmetic.ts'
import { foursSwizzle } from './prefill-memory.ts'

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

/** The token of accumulator `i`, less four times the lane's four of its sixteen: of each sixteen a lane has four consecutive ones. */
const tokenOf = (i: number): number => 16 * (i >> 3) + 2 * (i & 1) + ((i >> 2) & 1)

/** Makes the scores of tokens that rows do not see lower than all others. */
export function hideTokens(scores: f32[], { last, window, isEdge }: UnitMask): void {
  const ends = each(4, (swizzle) => last.map((token) => token - 4 * ((laneIdx & 3) ^ swizzle)))
  const endOf = (i: number): i32 => ends[foursSwizzle(i >> 3)]![rowOf(i)]!
  for (const i of unroll(scores.length)) if (tokenOf(i) > endOf(i)) scores[i] = f32(Number.NEGATIVE_INFINITY)
  if (isEdge) {
    for (const i of unroll(scores.length))
      if (tokenOf(i) <= endOf(i) - window) scores[i] = f32(Number.NEGATIVE_INFINITY)
  }
}

/**
 * Has a row's reference follow the largest score of a unit, which is rarely anything to do; `scale` takes scores to units of log2.
 * Returns what the row's sums so far must be multiplied by.
 */
export function moveReference(scores: readonly f32[], state: RowState, r: number, scale: f32): f32 {
  const before = state.reference[r]!
  const factor = regs(1, f32(1))
  const most = before + (TOP_POWER + HEADROOM)
  // No lane of the warp has to know the others' scores unless one of them has such a score.
  const mayMove = f32.bits(topOfBits(scores, r)) * scale > most || most < 0
  if (voteAny(mayMove)) {
    const top = topOfRow(scores, r) * scale
    const reference = top > most ? top - TOP_POWER : before
    state.reference[r] = reference
    factor[0] = exp2Flushing(before - reference)
  }
  return factor[0]!
}

/** The same for a tile's first unit. */
export function setReference(scores: readonly f32[], state: RowState, r: number, scale: f32): void {
  const top = topOfRow(scores, r) * scale
  state.reference[r] = top > NO_REFERENCE + (TOP_POWER + HEADROOM) ? top - TOP_POWER : f32(NO_REFERENCE)
}

/** Makes probabilities of a row's scores, in place. */
export function weighRow(scores: f32[], state: RowState, r: number, scale: f32, factor: f32): void {
  const sums = regs(2, f32(0))
  for (const i of ofRow(scores, r)) {
    const probability = exp2Flushing(fma(scores[i]!, scale, -state.reference[r]!))
    scores[i] = probability
    sums[i & 1] = sums[i & 1]! + probability
  }
  state.total[r] = fma(state.total[r]!, factor, sums[0]! + sums[1]!)
}

/** The accumulators of a lane's row. */
const ofRow = (scores: readonly f32[], r: number): number[] =>
  scores.map((_, i) => i).filter((i) => rowOf(i) === r)

/** The largest score of a row. */
const topOfRow = (scores: readonly f32[], r: number): f32 =>
  maxOfLanes(ofRow(scores, r).reduce((top, i) => Math.max(top, scores[i]!), f32(Number.NEGATIVE_INFINITY)))

/**
 * The largest of a lane's scores, or 0 if that is more: its bits, which are compared as integers, three at a time. Four
 * comparisons are under way.
 */
function topOfBits(scores: readonly f32[], r: number): i32 {
  const own = ofRow(scores, r).map((i) => i32.bits(scores[i]!))
  const tops = each(4, () => regs(1, i32(0)))
  for (const i of unroll(0, own.length, 2)) {
    const top = tops[(i >> 1) & 3]!
    top[0] = Math.max(Math.max(own[i]!, own[i + 1]!), top[0]!)
  }
  return Math.max(Math.max(tops[0]![0]!, tops[1]![0]!), Math.max(tops[2]![0]!, tops[3]![0]!))
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
  for (const i of unroll(0, probabilities.length, 2))
    dst[i >> 3]![(i >> 1) & 3] = u32.bits(packF16(probabilities[i]!, probabilities[i + 1]!))
}

/** 1 over the sum of each row's probabilities. */
export const normsOf = ({ total }: RowState): f32[] => total.map((sum) => rcp(sumOfLanes(sum)))

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
