import { barrier, blockDim, f32, type InOut, i32, type Out, threadIdx, u32 } from '../../dsl/index.ts'
import { makeCandidates } from './candidates.ts'
import { chooseCandidate, lowestLargest } from './choose-candidate.ts'
import { chooseProposal } from './choose-proposal.ts'
import { extentOf, floatOfBits, LEAST_BITS, makeCutScratch, orderedBits } from './cut.ts'
import { loadOwnGroups } from './groups.ts'
import { BIASED, MOST_OCCURRENCES, OCCURRENCE } from './history.ts'
import { log2Exact } from './logarithm.ts'
import { philox } from './philox.ts'
import { cutsByRank, massOfRow, type Row } from './row.ts'
import { decodeSettings, needsSums, type SettingsTable } from './settings.ts'
import { toLog2, weightBelow } from './weigh.ts'

/** Of a weight's logarithm. */
const MARGIN = 2 ** -10

/** What a choice reads and changes. */
export interface Choice {
  readonly logits: InOut<number, 'B V'>
  readonly largest: InOut<f32, 'B Groups'>
  readonly sums: InOut<f32, 'B Groups'>
  readonly settings: SettingsTable
  readonly steps: InOut<i32, 'Slots'>
  readonly touched: InOut<u32, 'Slots Words'>
  readonly history: InOut<u32, 'Slots Halves'>
  readonly lastIds: Out<i32, 'Slots'>
  readonly ids: Out<i32, 'B'>
}

/**
 * Device: chooses a token for a row that was surveyed, and notes it for the row's slot; `room` is for how many of its logits
 * shared memory has room.
 *
 * Temperature 0 takes the largest logit, the lowest id among equals. Otherwise the softmax of logits / temperature is cut by
 * top-k, then by top-p over what top-k left, then by min-p relative to the most likely token, and a token is drawn from
 * what remains; ties at a cut are kept. The draw is a function of the slot's seed and step. A row without a logit above −∞
 * gives id 0.
 *
 * No sort: what the survey knows of the groups bounds the cut from below, so that few groups hold all that can be kept.
 * Their logits above the bound are gathered, cut exactly, and race: each has a waiting time that is exponential with its
 * weight, and the first wins, whatever their order. Where they are too many, or nothing is cut, tokens are proposed by
 * their weights in the whole row until one is kept.
 */
export function chooseToken(a: Choice, V: number, room: number, row: i32, slot: i32): void {
  const warps = blockDim.x / 32
  const largest = loadOwnGroups(a.largest.row(row), V, warps, f32(Number.NEGATIVE_INFINITY))
  const settings = decodeSettings(a.settings, slot)
  const { temperature } = settings
  const step = u32(a.steps.at(slot))
  const pool = makeCandidates(V, room)
  if (threadIdx.x < 2) pool.counts.put(0, threadIdx.x)
  barrier()
  const scratch = makeCutScratch()
  const extent = extentOf(scratch, largest.map(orderedBits))
  const max = floatOfBits(extent.largest)
  let id: i32 = 0
  if (extent.largest >= LEAST_BITS) {
    const logits = a.logits.row(row)
    if (temperature === 0) id = lowestLargest(pool, logits, V, largest, max)
    else {
      const scale = toLog2(temperature)
      // The likeliest token is kept whatever is asked for.
      const minP = Math.min(settings.minP, 1)
      const weigh = (logit: f32) => weightBelow(logit, max, scale)
      const sums = a.sums.row(row)
      const isSummed = needsSums(settings, V)
      let mass = f32(0)
      if (isSummed) mass = massOfRow(sums, largest, V, weigh)
      const r: Row = {
        logits,
        V,
        tops: a.largest.row(row),
        sums,
        isSummed,
        largest,
        extent,
        mass,
        max,
        scale,
        weigh,
        topK: settings.topK,
        topP: settings.topP,
        minP,
        // Beside the exact cut by weights, so that no logit is missed for rounding.
        floor: minP > 0 ? max + (log2Exact(minP) - MARGIN) / scale : f32(f32.lowest),
        random: (index, purpose) => philox([step, u32(index), u32(purpose), u32(0)], settings.seed),
      }
      id = -1
      if (cutsByRank(r) || r.topP < 1 || r.minP > 0) id = chooseCandidate(r, pool, scratch)
      if (id < 0) id = chooseProposal(r, scratch)
    }
  }
  if (threadIdx.x === 0) {
    a.ids.put(id, row)
    a.lastIds.put(id, slot)
    a.steps.put(i32(step + 1), slot)
    if (settings.isPenalized) note(a, slot, id)
  }
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
