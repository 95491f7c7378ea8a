import {
  barrier,
  blockDim,
  blockIdx,
  blockMaxI32,
  blockSum,
  type Elem,
  f32,
  type In,
  type InOut,
  i32,
  kernel,
  laneIdx,
  load,
  type Out,
  range,
  regs,
  shared,
  threadIdx,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { overlapLaunches } from '../half-rows.ts'
import {
  type Candidates,
  eachCandidate,
  eachListed,
  gather,
  listGroups,
  makeCandidates,
} from './candidates.ts'
import {
  type CutScratch,
  extentOf,
  fixedWeight,
  floatOfBits,
  LEAST_BITS,
  largestCut,
  makeCutScratch,
  massOf,
  orderedBits,
  searchBetween,
  sumTallies,
  type Tally,
  tallyOf,
} from './cut.ts'
import { eachOfGroup, type Logits, type LogitType, loadOwnGroups, rowWarps, tilesOf } from './groups.ts'
import { BIASED, MOST_OCCURRENCES, OCCURRENCE } from './history.ts'
import { log2Exact } from './logarithm.ts'
import { philox } from './philox.ts'
import { layOutMasses, makeProposals, propose } from './proposals.ts'
import { decodeSettings, FEW, needsSums, type SettingsTable } from './settings.ts'
import { toLog2, weightBelow, weightBeside } from './weigh.ts'

export interface ChooseConfig {
  /** Vocabulary. */
  readonly V: number
  readonly dtype: LogitType
  /** Logits of a row that shared memory has room for. */
  readonly candidates: number
}

/** Rounds of proposals before the largest logit is taken: what is kept has a chance of more than 1 in 10⁵ at each. */
const mostRounds = 4096
/** Of a weight's logarithm. */
const MARGIN = 2 ** -10
/** What random numbers are for. */
const FOR_CANDIDATES = 0
const FOR_PROPOSALS = 1

/**
 * Chooses a token for each row that `surveyLogits` has looked at, and notes it for the row's slot.
 *
 * Temperature 0 takes the largest logit, the lowest id among equals. Otherwise the softmax of logits / temperature is cut by
 * top-k, then by top-p over what top-k left, then by min-p relative to the most likely token, and a token is drawn from
 * what remains; ties at a cut are kept. The draw is a function of the slot's seed and step. A row without a logit above −∞
 * gives id 0, and one whose slot is negative is left out.
 *
 * No sort: what the survey knows of the groups bounds the cut from below, so that few groups hold all that can be kept.
 * Their logits above the bound are gathered, cut exactly, and race: each has a waiting time that is exponential with its
 * weight, and the first wins, whatever their order. Where they are too many, or nothing is cut, tokens are proposed by
 * their weights in the whole row until one is kept.
 */
export const chooseTokens = kernel(
  import.meta.url,
  {
    grid: (d) => [d.B!],
    block: (c: ChooseConfig) => [32 * rowWarps(c.V)],
    // 512 rows at once on 132 multiprocessors.
    blocksPerMultiprocessor: () => 4,
  },
  function chooseTokens(
    a: {
      logits: In<Elem<'dtype'>, 'B V'>
      slots: In<i32, 'B'>
      largest: In<f32, 'B Groups'>
      sums: InOut<f32, 'B Groups'>
      settings: SettingsTable
      steps: InOut<i32, 'Slots'>
      touched: InOut<u32, 'Slots Words'>
      history: InOut<u32, 'Slots Halves'>
      lastIds: Out<i32, 'Slots'>
      ids: Out<i32, 'B'>
    },
    c: ChooseConfig,
  ) {
    overlapLaunches()
    const row = blockIdx.x
    const slot = a.slots.at(row)
    if (slot < 0) return
    const settings = decodeSettings(a.settings, slot)
    const temperature = settings.temperature
    const pool = makeCandidates(c.V, c.candidates)
    if (threadIdx.x < 2) pool.counts.put(0, threadIdx.x)
    barrier()
    const warps = blockDim.x / 32
    const largest = loadOwnGroups(a.largest.row(row), c.V, warps, f32(Number.NEGATIVE_INFINITY))
    const scratch = makeCutScratch()
    const extent = extentOf(scratch, largest.map(orderedBits))
    const max = floatOfBits(extent.largest)
    let id: i32 = 0
    if (extent.largest >= LEAST_BITS) {
      const logits = a.logits.row(row)
      if (temperature === 0) id = lowestLargest(pool, logits, c.V, largest, max)
      else {
        const scale = toLog2(temperature)
        // The likeliest token is kept whatever is asked for.
        const minP = Math.min(settings.minP, 1)
        const weigh = (logit: f32) => weightBelow(logit, max, scale)
        const sums = a.sums.row(row)
        const isSummed = needsSums(settings, c.V)
        let mass = f32(0)
        if (isSummed) mass = blockSum(massesOf(sums, largest, c.V, weigh).reduce((x, y) => x + y))
        const r: Row = {
          logits,
          V: c.V,
          tops: a.largest.row(row),
          sums,
          isSummed,
          largest,
          extent,
          mass,
          max,
          weigh,
          topK: settings.topK,
          topP: settings.topP,
          minP,
          // Beside the exact cut by weights, so that no logit is missed for rounding.
          floor: minP > 0 ? max + (log2Exact(minP) - MARGIN) / scale : f32(f32.lowest),
          random: (index, purpose) =>
            philox([u32(a.steps.at(slot)), u32(index), u32(purpose), u32(0)], settings.seed),
        }
        id = -1
        if (cutsByRank(r) || r.topP < 1 || r.minP > 0) id = chooseCandidate(r, pool, scratch)
        if (id < 0) id = chooseProposal(r, scratch, scale)
      }
    }
    if (threadIdx.x === 0) {
      a.ids.put(id, row)
      a.lastIds.put(id, slot)
      a.steps.put(a.steps.at(slot) + 1, slot)
      if (settings.isPenalized) note(a, slot, id)
    }
  },
)

/** What is known of a row. */
interface Row {
  readonly logits: Logits
  readonly V: number
  /** The largest logits of all groups. */
  readonly tops: In<f32, string>
  /** Sums of weights of all groups, beside their largest, and whether the survey has made them. */
  readonly sums: InOut<f32, string>
  readonly isSummed: boolean
  /** The largest logits of the calling thread's groups. */
  readonly largest: readonly f32[]
  /** Ordered bits of the largest and the smallest of all groups' largest. */
  readonly extent: { readonly largest: u32; readonly smallest: u32 }
  /** The mass of the row, beside its largest logit, which weighs 1; 0 where the survey has not summed. */
  readonly mass: f32
  readonly max: f32
  readonly topK: i32
  readonly topP: f32
  readonly minP: f32
  /** What lies below weighs too little for min-p. */
  readonly floor: f32
  weigh(logit: f32): f32
  random(index: i32, purpose: number): u32[]
}

/** Device: the masses of the calling thread's groups beside the row's largest logit. */
function massesOf(
  sums: InOut<f32, string>,
  largest: readonly f32[],
  V: number,
  weigh: (logit: f32) => f32,
): f32[] {
  return loadOwnGroups(sums as In<f32, string>, V, blockDim.x / 32, f32(0)).map(
    (sum, turn) => sum * weigh(largest[turn]!),
  )
}

/** Device: whether top-k takes anything away. */
function cutsByRank(r: Row): boolean {
  return r.topK > 0 && r.topK < r.V
}

/** Device: the lowest id of the largest logit, to every thread. */
function lowestLargest(pool: Candidates, logits: Logits, V: number, largest: readonly f32[], max: f32): i32 {
  const listed = listGroups(pool, blockDim.x / 32, largest, (top) => top === max)
  let lowest = i32(V)
  eachListed(pool, logits, V, listed, (logit, id) => {
    lowest = logit === max ? Math.min(lowest, id) : lowest
  })
  return -blockMaxI32(-lowest)
}

/** Device: adds tallies of one kind. */
function addTally(sum: i32[], tally: Tally, counts: boolean): void {
  for (const i of unroll(tally.length)) sum[i] = sum[i]! + (counts ? tally[i]! : 0)
}

/** Device: a token that the cuts leave, from the few groups that can have any; −1 where they are too many to tell. */
function chooseCandidate(r: Row, pool: Candidates, scratch: CutScratch): i32 {
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

/** Device: the mass that the tokens kept by top-p reach: the largest logit weighs 1 and stays whatever top-p is. */
function wantedMass(r: Row, whole: f32): f32 {
  return Math.max(r.topP * whole, 1)
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
  for (const first of range(0, count, 4)) {
    const others = load(pool.values, [first], 4)
    const tallies = load(weights, [first], 4).map((other) => tallyOf(other))
    for (const i of unroll(4)) {
      const isAbove = others[i]! > value
      above += i32(isAbove)
      addTally(mass, tallies[i]!, isAbove)
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
  const speed = kept && weight >= r.minP ? speedOf(r, id, weight) : f32(0)
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

/** Device: draws from the whole row until a token is kept. */
function chooseProposal(r: Row, scratch: CutScratch, scale: f32): i32 {
  const warps = blockDim.x / 32
  if (!r.isSummed) sumGroups(r, scale)
  const mass = blockSum(massesOf(r.sums, r.largest, r.V, r.weigh).reduce((x, y) => x + y))
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
      scale,
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
function sumGroups(r: Row, scale: f32): void {
  for (const tile of range(warpIdx, tilesOf(r.V), blockDim.x / 32)) {
    const group = 32 * tile + laneIdx
    const top = r.tops.at(group)
    let sum = f32(0)
    eachOfGroup(r.logits, r.V, tile, 8, (logit) => {
      sum += weightBeside(logit, top, scale)
    })
    r.sums.put(top > Number.NEGATIVE_INFINITY ? Math.max(sum, 1) : 0, group)
  }
  // Who has fewer groups than others reads some of theirs, and forgets it.
  barrier()
}

/** Device: the mass of all logits above one. */
function massAbove(r: Row, logit: f32): f32 {
  let mass = f32(0)
  for (const tile of range(warpIdx, tilesOf(r.V), blockDim.x / 32)) {
    if (r.tops.at(32 * tile + laneIdx) > logit) {
      eachOfGroup(r.logits, r.V, tile, 8, (value) => {
        mass += value > logit ? r.weigh(value) : f32(0)
      })
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

/** Device: one more occurrence of a token in a slot's output. */
function note(
  a: { readonly touched: InOut<u32, string>; readonly history: InOut<u32, string> },
  slot: i32,
  id: i32,
): void {
  const shift = u32(16 * (id & 1))
  const halves = a.history.at(slot, id >> 1)
  const past = (halves >>> shift) & 0xffff
  const full = (past & (BIASED - 1)) >>> 1 === u32(MOST_OCCURRENCES)
  a.history.put(halves + (full ? u32(0) : u32(OCCURRENCE) << shift), slot, id >> 1)
  a.touched.put(a.touched.at(slot, id >> 5) | (u32(1) << u32(id & 31)), slot, id >> 5)
}
