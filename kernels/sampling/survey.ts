import {
  type DType,
  each,
  f32,
  type In,
  type InOut,
  i32,
  LOG2E,
  laneIdx,
  leadingZeros,
  type Out,
  syncWarp,
  to,
  u32,
  unroll,
} from '../../dsl/index.ts'
import { groupValues, groupWords, idOfGroupBit, loadGroupBits, loadGroupWords, maskGroup } from './groups.ts'
import { BIASED, IN_PROMPT, OCCURRENCE } from './history.ts'
import { decodeSettings, needsSums, type SettingsTable } from './settings.ts'
import { toLog2, weightBeside } from './weigh.ts'

/** What says how a slot's logits are changed. */
export interface Adjustments {
  readonly settings: SettingsTable
  /** Tokens drawn for each slot. */
  readonly steps: InOut<i32, 'Slots'>
  /** See `history.ts`. */
  readonly touched: InOut<u32, 'Slots Words'>
  readonly history: InOut<u32, 'Slots Halves'>
  /** A bit for each token that may be drawn. */
  readonly allowed: In<u32, 'Slots Words'>
  /** What is added to the logit of a token in the slot's first steps, ids rising. */
  readonly biasIds: In<i32, 'Slots Biases'>
  readonly biases: In<f32, 'Slots Biases'>
  readonly biasSteps: In<i32, 'Slots Biases'>
}

/** Where the survey tells of rows and their groups. */
export interface Survey {
  readonly logits: InOut<number, 'B V'>
  readonly largest: InOut<f32, 'B Groups'>
  readonly sums: InOut<f32, 'B Groups'>
  readonly plainSums: Out<f32, 'B Groups'>
}

/**
 * Device: the one pass over a row of logits that sampling needs, a tile of it for the calling warp. Changes logits in place as
 * penalties, biases and the bitmask of the row's slot say, and tells of every group (`groups.ts`) its largest logit and,
 * beside that, the sum of weights at the slot's temperature and, where log-probabilities are reported, at temperature 1.
 */
export function surveyTile(a: Adjustments & Survey, V: number, row: i32, slot: i32, tile: i32): void {
  const logits = a.logits.row(row)
  const { dtype } = a.logits
  const settings = decodeSettings(a.settings, slot)
  if (settings.isPenalized || settings.biases > 0) {
    eachBit(dtype, tile, loadGroupBits(a.touched, slot, dtype, tile), (id) => {
      logits.put(to(dtype, adjusted(a, slot, id, f32(logits.at(id)))), id)
    })
    // Loads past the row's end read its last piece instead, which another lane may have changed.
    syncWarp()
  }
  const words = groupWords(dtype)
  loadGroupWords(words, logits, V, tile)
  if (settings.isMasked) {
    syncWarp()
    maskGroup(words, loadGroupBits(a.allowed, slot, dtype, tile), logits, V, tile)
  }

  const values = groupValues(words, dtype, V, tile)
  const largest = largestOf(values, dtype)
  const at = 32 * tile + laneIdx
  a.largest.put(largest, row, at)
  if (needsSums(settings, V)) a.sums.put(sumOfWeights(values, largest, toLog2(settings.temperature)), row, at)
  if (settings.reported > 0) a.plainSums.put(sumOfWeights(values, largest, f32(LOG2E)), row, at)
}

/** Device: the largest of a group's logits, −∞ where none is a number. */
function largestOf(values: readonly number[], dtype: DType): f32 {
  return f32(values.reduce((a, b) => Math.max(a, b), to(dtype, f32(Number.NEGATIVE_INFINITY))))
}

/** Device: calls `use` for the ids of a group whose bits are set. */
function eachBit(dtype: DType, tile: i32, halves: readonly u32[], use: (id: i32) => void): void {
  // Both words in one loop: a turn waits for memory, and most lanes have one bit or none in all.
  let [first, second] = [u32(halves[0]!), u32(halves[1]!)]
  while ((first | second) !== 0) {
    const half = first !== 0 ? i32(0) : i32(1)
    const bit = 31 - leadingZeros(first !== 0 ? first : second)
    const mark = u32(1) << bit
    second = first !== 0 ? second : second ^ mark
    first = first !== 0 ? first ^ mark : first
    use(idOfGroupBit(dtype, tile, half, bit))
  }
}

/** Device: a logit as its slot's penalties and biases change it. */
function adjusted(a: Adjustments, slot: i32, id: i32, logit: f32): f32 {
  const s = decodeSettings(a.settings, slot)
  const past = (a.history.at(slot, id >> 1) >>> (16 * (id & 1))) & 0xffff
  const occurrences = i32((past & (BIASED - 1)) >>> 1)
  let value = logit
  if (s.isPenalized) {
    const penalty = s.repetitionPenalty
    const seen = (past & (IN_PROMPT | (BIASED - OCCURRENCE))) !== 0
    value = seen ? (logit > 0 ? logit / penalty : logit * penalty) : logit
    const once = occurrences > 0 ? s.presencePenalty : f32(0)
    value = value - once - f32(occurrences) * s.frequencyPenalty
  }
  if ((past & BIASED) !== 0) {
    const step = a.steps.at(slot)
    for (let i: i32 = firstBias(a, slot, id, s.biases); i < s.biases && a.biasIds.at(slot, i) === id; i++)
      value += step < a.biasSteps.at(slot, i) ? a.biases.at(slot, i) : f32(0)
  }
  return value
}

/** Device: the first entry of a token in a slot's list, whose ids rise. */
function firstBias(a: Adjustments, slot: i32, id: i32, count: i32): i32 {
  const isBelow = (at: i32) => at < count && a.biasIds.at(slot, Math.max(Math.min(at, count - 1), 0)) < id
  let first: i32 = 0
  while (isBelow(first + 511)) first = first + 512
  // Eight ids are read at once, and a round waits for memory as a step of a bisection would.
  for (const step of [64, 8, 1]) {
    const below = each(8, (i) => i32(isBelow(first + (i + 1) * step - 1)))
    first = first + step * below.reduce((x, y) => x + y)
  }
  return first
}

/** Device: weights of a group's logits beside its largest, at least 1 where that is a number; four at a time, ids rising. */
function sumOfWeights(values: readonly number[], largest: f32, scale: f32): f32 {
  let [a, b, c, d] = [f32(0), f32(0), f32(0), f32(0)]
  for (const i of unroll(0, values.length, 4)) {
    a += weightBeside(f32(values[i]!), largest, scale)
    b += weightBeside(f32(values[i + 1]!), largest, scale)
    c += weightBeside(f32(values[i + 2]!), largest, scale)
    d += weightBeside(f32(values[i + 3]!), largest, scale)
  }
  return largest > Number.NEGATIVE_INFINITY ? Math.max(a + b + (c + d), 1) : f32(0)
}
