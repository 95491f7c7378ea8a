import {
  barrier,
  blockIdx,
  ceilDiv,
  exp2,
  f32,
  type In,
  i32,
  kernel,
  LOG2E,
  type Out,
  range,
  shared,
  threadIdx,
  u32,
} from '../dsl/index.ts'
import { blockMax, blockMaxI32, blockSum, blockSumI32 } from '../dsl/std/index.ts'

export interface SampleConfig {
  /** Vocabulary. */
  readonly V: number
}

const THREADS = 256

/**
 * Chooses one token per row of logits.
 *
 * `temperature` 0 takes the largest logit, the lowest id among equals. Otherwise the softmax of logits / temperature is
 * cut by top-k (0: off), then by top-p over what top-k left (1: off), then by min-p relative to the most likely token
 * (0: off), and a token is drawn from what remains; ties at a cut are kept. The draw is a hash of (`seed`, `step`), so a
 * request's tokens depend on its own seed alone.
 *
 * No sort: a cut is the smallest kept logit, found by bisection over the bit patterns of floats (32 passes over the
 * row, each counting or summing in a fixed order).
 */
export const sample = kernel(
  import.meta.url,
  { grid: (d) => [d.B!], block: [THREADS] },
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

    let best = f32(f32.lowest)
    for (const i of range(threadIdx.x, c.V, THREADS)) best = Math.max(best, logits.at(i))
    const max = blockMax(best)

    if (temperature === 0) {
      let first = i32(c.V)
      for (const i of range(threadIdx.x, c.V, THREADS)) {
        if (logits.at(i) === max && i < first) first = i
      }
      const id = -blockMaxI32(-first)
      if (threadIdx.x === 0) a.ids.put(id, row)
    } else {
      // Probabilities relative to the largest: exp2((logit − max)·toLog2).
      const toLog2 = LOG2E / temperature
      const topK = a.topK.at(row)
      const topP = a.topP.at(row)
      const weigh: Weigh = (logit, cut) => (orderedBits(logit) >= cut ? exp2((logit - max) * toLog2) : f32(0))
      const keptMass = (cut: u32) => {
        let mass = f32(0)
        for (const i of range(threadIdx.x, c.V, THREADS)) mass += weigh(logits.at(i), cut)
        return blockSum(mass)
      }

      let cut = u32(0)
      if (topK > 0 && topK < c.V) {
        cut = largestCut((candidate) => {
          let kept: i32 = 0
          for (const i of range(threadIdx.x, c.V, THREADS))
            kept += i32(orderedBits(logits.at(i)) >= candidate)
          return blockSumI32(kept) >= topK
        })
      }
      if (topP < 1) {
        const atLeast = cut
        const wanted = topP * keptMass(atLeast)
        cut = largestCut((candidate) => keptMass(Math.max(candidate, atLeast)) >= wanted)
        cut = Math.max(cut, atLeast)
      }
      const minP = a.minP.at(row)
      const weightOf = (logit: f32) => {
        const weight = weigh(logit, cut)
        return weight >= minP ? weight : f32(0)
      }

      // Each thread owns a run of consecutive ids, so that the running total goes through ids in order.
      const perThread = ceilDiv(c.V, THREADS)
      const from = threadIdx.x * perThread
      const to = Math.min(from + perThread, c.V)
      let mine = f32(0)
      for (const i of range(from, to)) mine += weightOf(logits.at(i))
      const masses = shared<f32>('f32', [THREADS])
      masses.put(mine, threadIdx.x)
      barrier()
      let before = f32(0)
      let total = f32(0)
      for (const t of range(THREADS)) {
        const mass = masses.at(t)
        before = t < threadIdx.x ? before + mass : before
        total += mass
      }
      const goal = uniform(a.seed.at(row), a.step.at(row)) * total

      // The first id at which the running total passes the goal; rounding may leave none, then the last kept id.
      let chosen = i32(c.V)
      let lastKept: i32 = -1
      let sum = before
      for (const i of range(from, to)) {
        const weight = weightOf(logits.at(i))
        sum += weight
        if (weight > 0) {
          lastKept = i
          if (sum > goal && i < chosen) chosen = i
        }
      }
      const first = -blockMaxI32(-chosen)
      const last = blockMaxI32(lastKept)
      if (threadIdx.x === 0) a.ids.put(first < c.V ? first : last, row)
    }
  },
)

/** Bits whose unsigned order is the order of floats: −∞ first, +∞ last. */
function orderedBits(x: f32): u32 {
  const bits = u32.bits(x)
  return bits >>> 31 === u32(1) ? ~bits : bits | 0x80000000
}

/** The largest cut (as ordered bits) for which `keeps` holds; it holds for 0 and fails from some value on. */
function largestCut(keeps: (cut: u32) => boolean): u32 {
  let cut = u32(0)
  for (const turn of range(32)) {
    const candidate = cut | (u32(0x80000000) >>> turn)
    cut = keeps(candidate) ? candidate : cut
    // The reductions inside `keeps` use the same shared memory at every turn.
    barrier()
  }
  return cut
}

type Weigh = (logit: f32, cut: u32) => f32

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
  const ids = kept().filter((id) => weights[id]! >= s.minP)
  const total = mass(ids)
  return new Map(ids.map((id) => [id, weights[id]! / total]))
}
