import {
  blockIdx,
  ceilDiv,
  type Elem,
  f32,
  type In,
  type InOut,
  i32,
  kernel,
  LOG2E,
  laneIdx,
  leadingZeros,
  type Out,
  range,
  syncWarp,
  to,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { overlapLaunches } from '../half-rows.ts'
import { idOfGroupBit, type LogitType, loadGroup, loadGroupBits, tilesOf } from './groups.ts'
import { BIASED, IN_PROMPT, OCCURRENCE } from './history.ts'
import { decodeSettings, type SettingsTable } from './settings.ts'
import { toLog2, weightBeside } from './weigh.ts'

export interface SurveyConfig {
  /** Vocabulary. */
  readonly V: number
  readonly dtype: LogitType
}

/** What says how a slot's logits are changed. */
export interface Adjustments {
  readonly settings: SettingsTable
  /** Tokens drawn for each slot. */
  readonly steps: In<i32, 'Slots'>
  /** See `history.ts`. */
  readonly touched: In<u32, 'Slots Words'>
  readonly history: In<u32, 'Slots Halves'>
  /** A bit for each token that may be drawn. */
  readonly allowed: In<u32, 'Slots Words'>
  /** What is added to the logit of a token in the slot's first steps. */
  readonly biasIds: In<i32, 'Slots Biases'>
  readonly biases: In<f32, 'Slots Biases'>
  readonly biasSteps: In<i32, 'Slots Biases'>
}

/** Warps of a CTA, each with a tile. */
const surveyWarps = (V: number): number => Math.min(4, tilesOf(V))

/**
 * The one pass over rows of logits that sampling needs. Changes logits in place as penalties, biases and the bitmask of
 * the row's slot say, and tells of every group (`groups.ts`) its largest logit and, beside that, the sum of weights at the
 * slot's temperature and, where log-probabilities are reported, at temperature 1.
 *
 * A row whose slot is negative is left out.
 */
export const surveyLogits = kernel(
  import.meta.url,
  {
    grid: (d, c: SurveyConfig) => [ceilDiv(tilesOf(c.V), surveyWarps(c.V)), d.B!],
    block: (c: SurveyConfig) => [32 * surveyWarps(c.V)],
  },
  function surveyLogits(
    a: Adjustments & {
      logits: InOut<Elem<'dtype'>, 'B V'>
      slots: In<i32, 'B'>
      largest: Out<f32, 'B Groups'>
      sums: Out<f32, 'B Groups'>
      plainSums: Out<f32, 'B Groups'>
    },
    c: SurveyConfig,
  ) {
    overlapLaunches()
    const row = blockIdx.y
    const slot = a.slots.at(row)
    const tile = blockIdx.x * surveyWarps(c.V) + warpIdx
    if (slot < 0 || tile >= tilesOf(c.V)) return
    const logits = a.logits.row(row)
    const settings = decodeSettings(a.settings, slot)
    if (settings.penalized() || settings.biases() > 0) {
      eachBit(c.dtype, tile, loadGroupBits(a.touched, slot, c.dtype, tile), (id) => {
        logits.put(to(c.dtype, adjusted(a, slot, id, f32(logits.at(id)))), id)
      })
    }
    if (settings.masked()) {
      const disallowed = loadGroupBits(a.allowed, slot, c.dtype, tile).map((bits) => ~bits)
      eachBit(c.dtype, tile, disallowed, (id) => {
        if (id < c.V) logits.put(to(c.dtype, f32(Number.NEGATIVE_INFINITY)), id)
      })
    }

    // Loads past the row's end read its last quad instead, which another lane may have changed.
    syncWarp()
    const values = loadGroup(logits, c.V, tile)
    const largest = values.reduce((a, b) => Math.max(a, b), f32(Number.NEGATIVE_INFINITY))
    const at = 32 * tile + laneIdx
    a.largest.put(largest, row, at)
    const temperature = settings.temperature()
    if (temperature > 0) a.sums.put(sumOfWeights(values, largest, toLog2(temperature)), row, at)
    if (settings.reported() > 0) a.plainSums.put(sumOfWeights(values, largest, f32(LOG2E)), row, at)
  },
)

/** Device: calls `use` for the ids of a group whose bits are set. */
function eachBit(dtype: LogitType, tile: i32, halves: readonly i32[], use: (id: i32) => void): void {
  for (const half of unroll(2)) {
    let bits = u32(halves[half]!)
    while (bits !== 0) {
      const bit = 31 - leadingZeros(bits)
      bits = bits ^ (u32(1) << bit)
      use(idOfGroupBit(dtype, tile, half, bit))
    }
  }
}

/** Device: a logit as its slot's penalties and biases change it. */
function adjusted(a: Adjustments, slot: i32, id: i32, logit: f32): f32 {
  const s = decodeSettings(a.settings, slot)
  const past = (a.history.at(slot, id >> 1) >>> (16 * (id & 1))) & 0xffff
  const occurrences = i32((past & (BIASED - 1)) >>> 1)
  let value = logit
  if (s.penalized()) {
    const penalty = s.repetitionPenalty()
    const seen = (past & (IN_PROMPT | (BIASED - OCCURRENCE))) !== 0
    value = seen ? (logit > 0 ? logit / penalty : logit * penalty) : logit
    const once = occurrences > 0 ? s.presencePenalty() : f32(0)
    value = value - once - f32(occurrences) * s.frequencyPenalty()
  }
  if ((past & BIASED) !== 0) {
    const step = a.steps.at(slot)
    for (const i of range(s.biases())) {
      const applies = a.biasIds.at(slot, i) === id && step < a.biasSteps.at(slot, i)
      value += applies ? a.biases.at(slot, i) : f32(0)
    }
  }
  return value
}

/** Device: weights of a group's logits beside its largest, at least 1 where that is a number; four at a time, ids rising. */
function sumOfWeights(values: readonly f32[], largest: f32, scale: f32): f32 {
  const weights = values.map((value) => weightBeside(value, largest, scale))
  const [a, b, c, d] = [0, 1, 2, 3].map((first) =>
    weights.filter((_, i) => i % 4 === first).reduce((sum, weight) => sum + weight),
  ) as [f32, f32, f32, f32]
  return largest > Number.NEGATIVE_INFINITY ? Math.max(a + b + (c + d), 1) : f32(0)
}
