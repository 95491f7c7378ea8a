import {
  barrier,
  blockDim,
  blockIdx,
  blockMax,
  blockMaxI32,
  blockSum,
  type Elem,
  f32,
  type In,
  i32,
  kernel,
  LOG2E,
  type Out,
  range,
  threadIdx,
  u32,
} from '../../dsl/index.ts'
import { overlapLaunches } from '../half-rows.ts'
import { eachCandidate, eachListed, gather, listGroups, makeCandidates } from './candidates.ts'
import { floatOfBits, largestCut, makeCutScratch, orderedBits } from './cut.ts'
import { type LogitType, loadOwnGroups, rowWarps } from './groups.ts'
import { log2Exact } from './logarithm.ts'
import { decodeSettings, type SettingsTable } from './settings.ts'
import { weightBelow } from './weigh.ts'

export interface ReportConfig {
  /** Vocabulary. */
  readonly V: number
  readonly dtype: LogitType
  /** Logits of a row that shared memory has room for. */
  readonly candidates: number
  /** Most likely tokens that a row may ask for. */
  readonly most: number
}

/**
 * Log-probabilities of the chosen token and of the most likely ones, in falling order, the lowest id first among equals, for
 * rows whose slots ask for them. They are those of the logits behind penalties, biases and bitmask, at temperature 1.
 * Where fewer tokens are possible, id −1 fills up.
 */
export const reportLogProbs = kernel(
  import.meta.url,
  { grid: (d) => [d.B!], block: (c: ReportConfig) => [32 * rowWarps(c.V)] },
  function reportLogProbs(
    a: {
      logits: In<Elem<'dtype'>, 'B V'>
      slots: In<i32, 'B'>
      largest: In<f32, 'B Groups'>
      plainSums: In<f32, 'B Groups'>
      settings: SettingsTable
      ids: In<i32, 'B'>
      chosen: Out<f32, 'B'>
      topIds: Out<i32, 'B most'>
      top: Out<f32, 'B most'>
    },
    c: ReportConfig,
  ) {
    overlapLaunches()
    const row = blockIdx.x
    const slot = a.slots.at(row)
    if (slot < 0) return
    const wanted = Math.min(decodeSettings(a.settings, slot).reported - 1, c.most)
    if (wanted < 0) return
    const pool = makeCandidates(c.V, c.candidates)
    if (threadIdx.x < 2) pool.counts.put(0, threadIdx.x)
    barrier()
    const warps = blockDim.x / 32
    const largest = loadOwnGroups(a.largest.row(row), c.V, warps, f32(Number.NEGATIVE_INFINITY))
    const sums = loadOwnGroups(a.plainSums.row(row), c.V, warps, f32(0))
    const max = blockMax(largest.reduce((x, y) => Math.max(x, y)))
    const weigh = (logit: f32) => weightBelow(logit, max, f32(LOG2E))
    const mass = blockSum(sums.map((sum, i) => sum * weigh(largest[i]!)).reduce((x, y) => x + y))
    const logits = a.logits.row(row)
    // Of the largest it is 0 less the logarithm of the mass, so that an infinite one does no harm.
    const logOfMass = log2Exact(mass) * (1 / LOG2E)
    const logProb = (logit: f32) => (logit === max ? f32(0) : logit - max) - logOfMass
    if (threadIdx.x === 0) a.chosen.put(logProb(f32(logits.at(a.ids.at(row)))), row)
    if (wanted === 0) return

    const bits = largest.map(orderedBits)
    const cut = largestCut(
      makeCutScratch(),
      { prefix: u32(0), turns: i32(16), end: 8 },
      (cuts) => cuts.map((each) => [bits.map((own) => i32(own >= each)).reduce((x, y) => x + y)]),
      (counts) => counts[0]! >= wanted,
    )
    const floor = floatOfBits(cut)
    const listed = listGroups(pool, warps, largest, (top) => top >= floor)
    const count = gather(pool, logits, c.V, listed, floor)
    const tell = (place: i32, logit: f32, id: i32) => {
      if (threadIdx.x !== 0) return
      a.topIds.put(id < c.V ? id : -1, row, place)
      a.top.put(id < c.V ? logProb(logit) : f32(Number.NEGATIVE_INFINITY), row, place)
    }
    if (count <= pool.room)
      inOrder(c.V, wanted, tell, (use) =>
        eachCandidate(count, (at) => use(pool.values.at(at), pool.ids.at(at))),
      )
    else inOrder(c.V, wanted, tell, (use) => eachListed(pool, logits, c.V, listed, use))
  },
)

/** Device: the `wanted` largest logits that `each` goes through, in order; past the last the id is V. */
function inOrder(
  V: number,
  wanted: i32,
  tell: (place: i32, logit: f32, id: i32) => void,
  each: (use: (logit: f32, id: i32) => void) => void,
): void {
  let last: f32 = f32(Number.POSITIVE_INFINITY)
  let lastId: i32 = -1
  for (const place of range(wanted)) {
    let best: f32 = f32(Number.NEGATIVE_INFINITY)
    let bestId: i32 = V
    each((logit, id) => {
      const comesAfter = logit < last || (logit === last && id > lastId)
      const better = logit > best || (logit === best && id < bestId)
      if (comesAfter && better && logit > Number.NEGATIVE_INFINITY) {
        best = logit
        bestId = id
      }
    })
    const largest = blockMax(best)
    const first = -blockMaxI32(best === largest ? -bestId : i32(-V))
    tell(place, largest, first)
    last = largest
    lastId = first
    barrier()
  }
}
