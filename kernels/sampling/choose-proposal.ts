import {
  barrier,
  blockDim,
  blockSum,
  ceilDiv,
  f32,
  i32,
  laneIdx,
  range,
  regs,
  shared,
  threadIdx,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import {
  addTally,
  type CutScratch,
  fixedWeight,
  floatOfBits,
  largestCut,
  massOf,
  orderedBits,
  sumTallies,
  tallyOf,
} from './cut.ts'
import { eachOfGroup, loadOwnGroups, loadPiece, pieceLogits, tilesOf, wordLogits } from './groups.ts'
import { layOutMasses, makeProposals, propose } from './proposals.ts'
import { cutsByRank, FOR_PROPOSALS, massesOf, massOfRow, type Row, wantedMass } from './row.ts'
import { weightBeside, weightOfNumber } from './weigh.ts'

/** Rounds before a proposal is taken as it is: what is kept has a chance of some thousandths at each, at the very least. */
const mostRounds = 4096

/** Device: a token that the cuts leave, from all of the row: drawn until one is kept. */
export function chooseProposal(r: Row, scratch: CutScratch): i32 {
  const warps = blockDim.x / 32
  if (!r.isSummed) sumGroups(r)
  const mass = massOfRow(r.sums, r.largest, r.V, r.weigh)
  let cut = u32(0)
  let whole = mass
  if (cutsByRank(r)) {
    cut = cutRow(r, scratch)
    whole = massAbove(r, floatOfBits(cut - 1))
  }
  const wanted = wantedMass(r, whole)
  const proposals = makeProposals(r.V)
  const total = layOutMasses(proposals, massesOf(r.sums, r.largest, r.V, r.weigh), mass)
  const proposedIds = shared<i32>('i32', [warps])
  const proposed = shared<f32>('f32', [warps])

  let chosen: i32 = -1
  let round: i32 = 0
  while (chosen < 0) {
    const { id, logit } = propose(
      proposals,
      total,
      r.logits,
      r.V,
      r.scale,
      r.random(round * warps + warpIdx, FOR_PROPOSALS),
    )
    if (laneIdx === 0) {
      proposedIds.put(id, warpIdx)
      proposed.put(logit, warpIdx)
    }
    barrier()
    for (const turn of range(warps)) {
      const logit = proposed.at(turn)
      if (chosen < 0 && orderedBits(logit) >= cut && r.weigh(logit) >= r.minP) {
        if (r.topP >= 1) chosen = proposedIds.at(turn)
        else if (liesWithin(r, scratch, logit, wanted)) chosen = proposedIds.at(turn)
      }
    }
    round = round + 1
    if (chosen < 0 && round === mostRounds) chosen = proposedIds.at(0)
    barrier()
  }
  return chosen
}

/** Device: whether the logits above `logit` have less than the wanted mass, by what is known of the groups if that tells. */
function liesWithin(r: Row, scratch: CutScratch, logit: f32, wanted: f32): boolean {
  const largest = loadOwnGroups(r.tops, r.V, blockDim.x / 32, f32(Number.NEGATIVE_INFINITY))
  const masses = massesOf(r.sums, largest, r.V, r.weigh)
  const least = regs(2, i32(0))
  let most = f32(0)
  largest.forEach((top, i) => {
    addTally(least, tallyOf(fixedWeight(r.weigh(top))), top > logit)
    most += top > logit ? masses[i]! : 0
  })
  barrier()
  if (massOf(sumTallies(scratch, i32(0), least)) >= wanted) return false
  if (blockSum(most) < wanted) return true
  return massAbove(r, logit) < wanted
}

/** Device: the sums of the calling thread's groups, which the survey left out. */
function sumGroups(r: Row): void {
  for (const tile of range(warpIdx, tilesOf(r.V), blockDim.x / 32)) {
    const group = 32 * tile + laneIdx
    const top = r.tops.at(group)
    let sum = f32(0)
    eachOfGroup(r.logits, r.V, tile, 8, (logit) => {
      sum += weightBeside(logit, top, r.scale)
    })
    r.sums.put(top > Number.NEGATIVE_INFINITY ? Math.max(sum, 1) : 0, group)
  }
  // Who has fewer groups than others reads some of theirs, and forgets it.
  barrier()
}

/** Pieces that a thread weighs while as many are on their way. */
const UNDER_WAY = 4

/** Device: the mass of all logits above one. Beside an infinite one others weigh nothing, and it is kept whatever they do: 0. */
function massAbove(r: Row, logit: f32): f32 {
  if (r.max === Number.POSITIVE_INFINITY) return f32(0)
  const { dtype } = r.logits
  const width = pieceLogits(dtype)
  const pieces = ceilDiv(r.V, width)
  const next = regs(4 * UNDER_WAY, u32(0))
  const fetch = (start: i32) => {
    for (const i of unroll(UNDER_WAY)) {
      const words = loadPiece(r.logits, r.V, (start + i * blockDim.x + threadIdx.x) * width)
      for (const j of unroll(4)) next[4 * i + j] = words[j]!
    }
  }
  let mass = f32(0)
  fetch(0)
  for (const start of range(0, pieces, UNDER_WAY * blockDim.x)) {
    const words = next.map((word) => u32(word))
    fetch(start + UNDER_WAY * blockDim.x)
    for (const own of wordLogits(words, dtype)) {
      const value = f32(own)
      mass += value > logit ? weightOfNumber(value, r.max, r.scale) : f32(0)
    }
  }
  const total = blockSum(mass)
  barrier()
  return total
}

/** Device: the cut by top-k over a whole row. */
function cutRow(r: Row, scratch: CutScratch): u32 {
  return largestCut(
    scratch,
    { prefix: u32(0), turns: i32(16) },
    (cuts) => {
      const sums = regs(cuts.length, i32(0))
      for (const tile of range(warpIdx, tilesOf(r.V), blockDim.x / 32)) {
        eachOfGroup(r.logits, r.V, tile, 2, (value) => {
          const bits = orderedBits(value)
          for (const i of unroll(cuts.length)) sums[i] = sums[i]! + i32(bits >= cuts[i]!)
        })
      }
      return sums.map((sum) => [sum])
    },
    (sums) => sums[0]! >= r.topK,
  )
}
