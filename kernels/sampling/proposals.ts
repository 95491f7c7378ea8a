import {
  ballot,
  barrier,
  blockDim,
  ceilDiv,
  f32,
  i32,
  idiv,
  laneIdx,
  leadingZeros,
  load,
  mulHi,
  popCount,
  type Shared,
  shared,
  shuffle,
  threadIdx,
  u32,
  unroll,
  warpIdx,
  warpMax,
  warpPrefixSum,
} from '../../dsl/index.ts'
import { type Logits, loadNeighbours, pieceLogits, pieceStart, tilesOf } from './groups.ts'
import { weightBelow } from './weigh.ts'

/**
 * Draws from all of a row: first a group by its mass, then one of its logits. Masses are integers here, so that a draw has
 * an exact place in their sum.
 */
export interface Proposals {
  /** Masses of the groups, and their running sums up to each thread's last group. */
  readonly masses: Shared<i32>
  readonly ends: Shared<i32>
  readonly warpSums: Shared<i32>
}

const turnsOf = (V: number): number => ceilDiv(tilesOf(V), blockDim.x / 32)

export function makeProposals(V: number): Proposals {
  return {
    masses: shared<i32>('i32', [turnsOf(V), blockDim.x]),
    ends: shared<i32>('i32', [blockDim.x]),
    warpSums: shared<i32>('i32', [blockDim.x / 32]),
  }
}

/** Device: lays out the masses of the calling threads' groups, whose sum is about `whole`; returns their sum in integers. */
export function layOutMasses(proposals: Proposals, masses: readonly f32[], whole: f32): i32 {
  const { ends, warpSums } = proposals
  // A power of two that brings the sum to 2²⁹ and more, below 2³⁰.
  const unit = f32.bits((283 - (u32.bits(whole) >>> 23)) << 23)
  const fixed = masses.map((mass) => i32(mass * unit))
  for (const [turn, mass] of fixed.entries()) proposals.masses.put(mass, turn, threadIdx.x)
  const upToLane = warpPrefixSum(fixed.reduce((a, b) => a + b))
  if (laneIdx === 31) warpSums.put(upToLane, warpIdx)
  barrier()
  let end = upToLane
  load(warpSums, [0], blockDim.x / 32).forEach((sum, warp) => {
    end = warp < warpIdx ? end + sum : end
  })
  ends.put(end, threadIdx.x)
  barrier()
  return ends.at(blockDim.x - 1)
}

/** Device: the lowest of the lanes where `condition` holds in some. */
const lowestLane = (condition: boolean): i32 => {
  const lanes = ballot(condition)
  return 31 - leadingZeros(lanes & (~lanes + 1))
}

/** Device: draws a logit in proportion to its weight: one for each warp, by random `words` that are the same in its lanes. */
export function propose(
  { masses, ends }: Proposals,
  total: i32,
  logits: Logits,
  V: number,
  scale: f32,
  words: readonly u32[],
): { readonly logit: f32; readonly id: i32 } {
  const goal = i32(mulHi(words[0]!, u32(total)))
  let thread: i32 = 0
  for (const start of unroll(0, blockDim.x, 32)) thread += popCount(ballot(ends.at(start + laneIdx) <= goal))
  let rest = goal - (thread > 0 ? ends.at(Math.max(thread - 1, 0)) : 0)
  let turn: i32 = -1
  for (const each of unroll(turnsOf(V))) {
    const mass = masses.at(each, thread)
    const inside = turn < 0 && rest < mass
    turn = inside ? each : turn
    rest = turn < 0 ? rest - mass : rest
  }
  const group = Math.max(turn, 0) * blockDim.x + thread

  // A lane has two neighbours of a piece.
  const pairs = pieceLogits(logits.dtype) / 2
  const piece = pieceStart(logits.dtype, group >> 5, group & 31, idiv(laneIdx, pairs))
  const id = piece + 2 * (laneIdx & (pairs - 1))
  const pair = loadNeighbours(logits, V, id, 2) as [f32, f32]
  const largest = warpMax(Math.max(pair[0], pair[1]))
  const [first, second] = pair.map((logit) => i32(weightBelow(logit, largest, scale) * 2 ** 24)) as [i32, i32]
  const upToLane = warpPrefixSum(first + second)
  const inner = i32(mulHi(words[1]!, u32(shuffle(upToLane, 31))))
  const lane = lowestLane(upToLane > inner)
  const takesFirst = upToLane - second > inner
  return {
    logit: shuffle(takesFirst ? pair[0] : pair[1], lane),
    id: shuffle(takesFirst ? id : id + 1, lane),
  }
}
