import {
  barrier,
  blockDim,
  blockMaxI32,
  f32,
  i32,
  laneIdx,
  load,
  range,
  regs,
  shared,
  threadIdx,
  u32,
  unroll,
} from '../../dsl/index.ts'
import { type Candidates, eachCandidate, eachListed, gather, listGroups } from './candidates.ts'
import {
  addTally,
  type CutScratch,
  fixedWeight,
  floatOfBits,
  largestCut,
  massOf,
  orderedBits,
  searchBetween,
  sumTallies,
  tallyOf,
} from './cut.ts'
import type { Logits } from './groups.ts'
import { log2Exact } from './logarithm.ts'
import { cutsByRank, FOR_CANDIDATES, type Row, wantedMass } from './row.ts'
import { FEW } from './settings.ts'

/**
 * Tokens from few candidates: what is known of the groups bounds the cut from below, so that few groups hold all that can be
 * kept. Their logits above the bound are gathered, cut exactly, and race.
 */

/** Device: the lowest id of the largest logit, to every thread. */
export function lowestLargest(
  pool: Candidates,
  logits: Logits,
  V: number,
  largest: readonly f32[],
  max: f32,
): i32 {
  const listed = listGroups(pool, blockDim.x / 32, largest, (top) => top === max)
  let lowest = i32(V)
  eachListed(pool, logits, V, listed, (logit, id) => {
    lowest = logit === max ? Math.min(lowest, id) : lowest
  })
  return -blockMaxI32(-lowest)
}

/** Device: a token that the cuts leave, from the few groups that can have any; −1 where they are too many to tell. */
export function chooseCandidate(r: Row, pool: Candidates, scratch: CutScratch): i32 {
  const mostGroups = pool.room / 2
  const byRank = cutsByRank(r)
  if (byRank && r.topK > Math.min(FEW, mostGroups)) return i32(-1)

  // Groups whose largest logit is k-th stand for k logits at least as large; those whose largest weigh enough, for the mass.
  const search = { ...searchBetween(r.extent.largest, r.extent.smallest), end: 8 }
  const bits = r.largest.map(orderedBits)
  let cut = u32(0)
  if (byRank)
    cut = largestCut(
      scratch,
      search,
      (cuts) => cuts.map((each) => [bits.map((own) => i32(own >= each)).reduce((x, y) => x + y)]),
      (sums) => sums[0]! >= r.topK,
    )
  else if (r.topP < 1) {
    const wanted = wantedMass(r, r.mass)
    const weights = r.largest.map((top) => fixedWeight(r.weigh(top)))
    const all = regs(2, i32(0))
    for (const weight of weights) addTally(all, tallyOf(weight), true)
    barrier()
    if (massOf(sumTallies(scratch, i32(0), all)) < wanted) return i32(-1)
    cut = largestCut(
      scratch,
      search,
      (cuts) =>
        cuts.map((each) => {
          const sum = regs(2, i32(0))
          for (const [i, weight] of weights.entries()) addTally(sum, tallyOf(weight), bits[i]! >= each)
          return sum
        }),
      (sums) => massOf(sums) >= wanted,
    )
  }

  // Top-p wants the mass of all that top-k leaves.
  const floor = byRank && r.topP < 1 ? floatOfBits(cut) : Math.max(floatOfBits(cut), r.floor)
  const listed = listGroups(pool, blockDim.x / 32, r.largest, (top) => top >= floor)
  if (listed > mostGroups) return i32(-1)
  const count = gather(pool, r.logits, r.V, listed, floor)
  if (count > pool.room) return i32(-1)
  if (count <= blockDim.x) return raceFew(r, pool, scratch, count)
  eachCandidate(count, (at) => pool.weights.put(r.weigh(pool.values.at(at)), at))
  return race(r, pool, count, cutCandidates(r, pool, scratch, count, floor))
}

/** Device: the cut by top-k and top-p among candidates at or above `floor`, as ordered bits. */
function cutCandidates(r: Row, pool: Candidates, scratch: CutScratch, count: i32, floor: f32): u32 {
  const search = searchBetween(r.extent.largest, orderedBits(floor))
  const massFrom = (cuts: readonly u32[]) => {
    const sums = cuts.map(() => regs(2, i32(0)))
    eachCandidate(count, (at) => {
      const bits = orderedBits(pool.values.at(at))
      const tally = tallyOf(fixedWeight(pool.weights.at(at)))
      for (const [i, each] of cuts.entries()) addTally(sums[i]!, tally, bits >= each)
    })
    return sums
  }

  let cut = search.prefix
  let whole = r.mass
  if (cutsByRank(r)) {
    cut = largestCut(
      scratch,
      search,
      (cuts) => {
        const sums = regs(cuts.length, i32(0))
        eachCandidate(count, (at) => {
          const bits = orderedBits(pool.values.at(at))
          cuts.forEach((each, i) => {
            sums[i] = sums[i]! + i32(bits >= each)
          })
        })
        return sums.map((sum) => [sum])
      },
      (sums) => sums[0]! >= r.topK,
    )
    barrier()
    whole = massOf(sumTallies(scratch, i32(0), massFrom([cut])[0]!))
  }
  if (r.topP < 1) {
    const wanted = wantedMass(r, whole)
    const kept = cut
    const withMass = largestCut(
      scratch,
      search,
      (cuts) => massFrom(cuts.map((each) => Math.max(each, kept))),
      (sums) => massOf(sums) >= wanted,
    )
    cut = Math.max(kept, withMass)
  }
  return cut
}

/**
 * Device: the race among candidates of which each thread has one at most. Who is kept follows from how many are above, and
 * what they weigh, which each thread counts: less work than a search.
 */
function raceFew(r: Row, pool: Candidates, scratch: CutScratch, count: i32): i32 {
  const own = Math.min(threadIdx.x, count - 1)
  const value = pool.values.at(own)
  const id = pool.ids.at(own)
  const weight = r.weigh(value)
  const fixed = fixedWeight(weight)
  const weights = shared<u32>('u32', [blockDim.x + 4])
  weights.put(threadIdx.x < count ? fixed : u32(0), threadIdx.x)
  if (threadIdx.x < 4) {
    weights.put(0, blockDim.x + threadIdx.x)
    pool.values.put(Number.NEGATIVE_INFINITY, count + threadIdx.x)
  }
  barrier()
  let above: i32 = 0
  const mass = regs(2, i32(0))
  // Most warps have no candidate.
  if (threadIdx.x - laneIdx < count) {
    for (const first of range(0, count, 4)) {
      const others = load(pool.values, [first], 4)
      const tallies = load(weights, [first], 4).map((other) => tallyOf(other))
      for (const i of unroll(4)) {
        const isAbove = others[i]! > value
        above += i32(isAbove)
        addTally(mass, tallies[i]!, isAbove)
      }
    }
  }
  let kept = threadIdx.x < count
  let whole = r.mass
  if (cutsByRank(r)) {
    kept = kept && above < r.topK
    const sums = regs(2, i32(0))
    addTally(sums, tallyOf(fixed), kept)
    whole = massOf(sumTallies(scratch, i32(0), sums))
  }
  if (r.topP < 1) kept = kept && massOf(mass) < wantedMass(r, whole)
  let speed = f32(0)
  if (kept && weight >= r.minP) speed = speedOf(r, id, weight)
  return winnerOf(speed, speed > 0 ? id : i32(r.V), r.V)
}

/** Device: the race among more candidates: the winner of those at or above the cut. */
function race(r: Row, pool: Candidates, count: i32, cut: u32): i32 {
  let best = f32(0)
  let winner = i32(r.V)
  eachCandidate(count, (at) => {
    const weight = pool.weights.at(at)
    if (orderedBits(pool.values.at(at)) >= cut && weight >= r.minP) {
      const id = pool.ids.at(at)
      const speed = speedOf(r, id, weight)
      const better = speed > best || (speed === best && id < winner)
      best = better ? speed : best
      winner = better ? id : winner
    }
  })
  return winnerOf(best, winner, r.V)
}

/** Device: the inverse of a candidate's waiting time, which is exponential with its weight. */
function speedOf(r: Row, id: i32, weight: f32): f32 {
  // Odd multiples of 2⁻²⁴: between 0 and 1, and exact.
  const uniform = (f32(i32(r.random(id, FOR_CANDIDATES)[0]! >>> 9)) + 0.5) * 2 ** -23
  return weight / -log2Exact(uniform)
}

/** Device: the id of the thread that is fastest, to every thread; the lowest of several. */
function winnerOf(speed: f32, id: i32, V: number): i32 {
  const bits = i32(u32.bits(speed))
  const first = blockMaxI32(bits)
  return -blockMaxI32(bits === first ? -id : i32(-V))
}
