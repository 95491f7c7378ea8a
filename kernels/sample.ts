import {
  barrier,
  blockDim,
  blockIdx,
  f32,
  type In,
  i32,
  kernel,
  LOG2E,
  laneIdx,
  load,
  type Out,
  range,
  regs,
  shared,
  shuffleUp,
  threadIdx,
  u32,
  unroll,
  warpIdx,
} from '../dsl/index.ts'
import { blockMax, blockMaxI32, blockSum, blockSumI32, exp2Exact } from '../dsl/std/index.ts'
import { eachLogit, largestLogit, logitThreads } from './logits.ts'

export interface SampleConfig {
  /** Vocabulary. */
  readonly V: number
}

/**
 * Chooses one token per row of logits.
 *
 * `temperature` 0 takes the largest logit, the lowest id among equals. Otherwise the softmax of logits / temperature is
 * cut by top-k (0: off), then by top-p over what top-k left (1: off), then by min-p relative to the most likely token
 * (0: off), and a token is drawn from what remains; ties at a cut are kept. The draw is a hash of (`seed`, `step`), so a
 * request's tokens depend on its own seed alone. A row without a finite logit gives id 0.
 *
 * No sort: a cut is the smallest kept logit, found two bits at a time over the bit patterns of floats (16 passes over the
 * row, each counting or summing in a fixed order).
 */
export const sample = kernel(
  import.meta.url,
  { grid: (d) => [d.B!], block: (c: SampleConfig) => [logitThreads(c.V)] },
  function sample(
    a: {
      logits: In<f32, 'B V'>
      temperature: In<f32, 'B'>
      topK: In<i32, 'B'>
      topP: In<f32, 'B'>
      minP: In<f32, 'B'>
      seed: In<u32, 'B'>
      step: In<u32, 'B'>
      ids: Out<i32, 'B'>
    },
    c: SampleConfig,
  ) {
    const row = blockIdx.x
    const logits = a.logits.row(row)
    const temperature = a.temperature.at(row)

    if (temperature === 0) {
      const id = firstLargest(logits, c.V)
      if (threadIdx.x === 0) a.ids.put(id, row)
    } else {
      // Probabilities relative to the largest: exp2((logit − max)·toLog2). The bound keeps 0·toLog2 a number.
      const max = largestLogit(logits, c.V)
      const toLog2 = Math.min(LOG2E / temperature, 2 ** 100)
      const topK = a.topK.at(row)
      const topP = a.topP.at(row)
      const minP = a.minP.at(row)
      const weigh = (logit: f32) => exp2Exact((logit - max) * toLog2)
      /** The mass above each cut, of which the first is the lowest. */
      const keptMasses = (cuts: readonly u32[]) => {
        const masses = regs(cuts.length, f32(0))
        eachLogit(logits, c.V, (logit) => {
          const bits = orderedBits(logit)
          if (bits >= cuts[0]!) {
            const weight = weigh(logit)
            for (const i of unroll(cuts.length)) masses[i] = masses[i]! + (bits >= cuts[i]! ? weight : f32(0))
          }
        })
        return masses.map((mass) => blockSum(mass))
      }

      let cut = u32(0)
      if (topK > 0 && topK < c.V) {
        cut = largestCut((cuts) => {
          const kept = regs(cuts.length, i32(0))
          eachLogit(logits, c.V, (logit) => {
            const bits = orderedBits(logit)
            for (const i of unroll(cuts.length)) kept[i] = kept[i]! + i32(bits >= cuts[i]!)
          })
          return kept.map((count) => blockSumI32(count) >= topK)
        })
      }
      if (topP < 1) {
        const atLeast = cut
        // The largest logit weighs 1: it stays whatever top-p is.
        const wanted = Math.max(topP * keptMasses([atLeast])[0]!, 1)
        const withTopP = largestCut((cuts) =>
          keptMasses(cuts.map((each) => Math.max(each, atLeast))).map((mass) => mass >= wanted),
        )
        cut = Math.max(atLeast, withTopP)
      }
      draw(a.ids, row, logits, c.V, uniform(a.seed.at(row), a.step.at(row)), (logit) => {
        const weight = weigh(logit)
        return orderedBits(logit) >= cut && weight >= minP ? weight : f32(0)
      })
    }
  },
)

/** Device: the lowest id of the largest logit, to every thread. */
function firstLargest(logits: In<f32, string>, V: number): i32 {
  let largest = f32(f32.lowest)
  let id = i32(V)
  eachLogit(logits, V, (logit, i) => {
    const larger = logit > largest || (id === V && logit === largest)
    largest = larger ? logit : largest
    id = larger ? i : id
  })
  const max = blockMax(largest)
  const first = -blockMaxI32(largest === max ? -id : i32(-V))
  return first < V ? first : 0
}

/**
 * Device: draws an id by its weight and stores it. The running total goes through the threads in order and through each
 * thread's own logits; the first id that takes it past `at` (0 to 1) of the whole is drawn. Rounding may leave none: then
 * the last that has a weight.
 */
function draw(
  ids: Out<i32, 'B'>,
  row: i32,
  logits: In<f32, string>,
  V: number,
  at: f32,
  weightOf: (logit: f32) => f32,
): void {
  let mine = f32(0)
  eachLogit(logits, V, (logit) => {
    mine += weightOf(logit)
  })
  const { before, total } = blockScan(mine)
  const goal = at * total

  let passing: i32 = -1
  let last: i32 = -1
  let sum = before
  eachLogit(logits, V, (logit, id) => {
    const weight = weightOf(logit)
    sum += weight
    const kept = weight > 0
    passing = kept && sum > goal && passing < 0 ? id : passing
    last = kept ? id : last
  })
  // The first thread that passes the goal ranks highest; below all of those, the last thread with a weight.
  const rank = passing >= 0 ? 2 * blockDim.x - threadIdx.x : last >= 0 ? threadIdx.x : i32(-1)
  const best = blockMaxI32(rank)
  const id = passing >= 0 ? passing : Math.max(last, 0)
  if (rank === best && (rank >= 0 || threadIdx.x === 0)) ids.put(id, row)
}

/** Device: the sum over all threads, and that over the threads before the calling one, added in a fixed order. */
function blockScan(value: f32): { readonly before: f32; readonly total: f32 } {
  let upToHere = value
  for (const step of unroll(5)) {
    const lower = shuffleUp(upToHere, 2 ** step)
    upToHere = laneIdx >= 2 ** step ? upToHere + lower : upToHere
  }
  const lower = shuffleUp(upToHere, 1)
  let before = laneIdx > 0 ? lower : f32(0)
  const warps = blockDim.x / 32
  const sums = shared<f32>('f32', [warps])
  if (laneIdx === 31) sums.put(upToHere, warpIdx)
  barrier()
  let total = f32(0)
  load(sums, [0], warps).forEach((sum, warp) => {
    before = warp < warpIdx ? before + sum : before
    total += sum
  })
  return { before, total }
}

/** Bits whose unsigned order is the order of floats: −∞ first, +∞ last. */
function orderedBits(x: f32): u32 {
  const bits = u32.bits(x)
  return bits >>> 31 === u32(1) ? ~bits : bits | 0x80000000
}

/** The largest cut (as ordered bits) that `keeps` accepts, asked for three at a time; it accepts 0 and all up to some cut. */
function largestCut(keeps: (cuts: readonly u32[]) => readonly boolean[]): u32 {
  let cut = u32(0)
  for (const turn of range(16)) {
    const cuts = [1, 2, 3].map((digit) => cut | (u32(digit) << (30 - 2 * turn)))
    keeps(cuts).forEach((kept, i) => {
      cut = kept ? cuts[i]! : cut
    })
    // The reductions inside `keeps` use the same shared memory at every turn.
    barrier()
  }
  return cut
}

/** A number in [0, 1) from a seed and a step: two rounds of a 32-bit finalizer with full avalanche (Wellons, "lowbias32"). */
function uniform(seed: u32, step: u32): f32 {
  const mixed = mix(mix(seed ^ u32(0x9e3779b9)) + step)
  return f32(i32(mixed >>> 8)) * 2 ** -24
}

function mix(x: u32): u32 {
  let v = x
  v = (v ^ (v >>> 16)) * u32(0x7feb352d)
  v = (v ^ (v >>> 15)) * u32(0x846ca68b)
  return v ^ (v >>> 16)
}

export interface SampleSettings {
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
}

/** The ids that settings leave and their probabilities, by sorting, in float64; ties at a cut are kept. */
export function keptReference(logits: Float64Array, s: SampleSettings): Map<number, number> {
  const max = logits.reduce((a, b) => Math.max(a, b))
  const weights = logits.map((logit) => Math.exp((logit - max) / s.temperature))
  const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]!)
  let cut = Number.NEGATIVE_INFINITY
  if (s.topK > 0 && s.topK < logits.length) cut = logits[order[s.topK - 1]!]!
  const kept = () => order.filter((id) => logits[id]! >= cut)
  const mass = (ids: readonly number[]) => ids.reduce((sum, id) => sum + weights[id]!, 0)
  if (s.topP < 1) {
    const wanted = s.topP * mass(kept())
    let sum = 0
    for (const id of kept()) {
      sum += weights[id]!
      if (sum >= wanted) {
        cut = Math.max(cut, logits[id]!)
        break
      }
    }
  }
  const ids = kept().filter((id) => weights[id]! > 0 && weights[id]! >= s.minP)
  const total = mass(ids)
  return new Map(ids.map((id) => [id, weights[id]! / total]))
}
