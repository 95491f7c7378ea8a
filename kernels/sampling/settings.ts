import { f32, type In, i32, load, type u32 } from '../../dsl/index.ts'

/** How tokens of a request are chosen. Numbers that change nothing are those of `neutral`. */
export interface SamplingSettings {
  /** Divides the logits; 0 takes the largest. */
  readonly temperature: number
  /** Keeps the k largest; 0 keeps all. */
  readonly topK: number
  /** Keeps the most likely that make up this much of what top-k left. */
  readonly topP: number
  /** Keeps those at least so likely as the likeliest, times this. */
  readonly minP: number
  /** Divides positive logits of tokens in prompt or output, and multiplies negative ones. */
  readonly repetitionPenalty: number
  /** Subtracted from logits of tokens in the output. */
  readonly presencePenalty: number
  /** The same, times how often they are there. */
  readonly frequencyPenalty: number
  /** A whole number below 2⁵³. */
  readonly seed: number
}

export const neutral: SamplingSettings = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 0,
}

/** What a slot's record says besides. */
export interface SlotOptions {
  /** Entries of the slot's list of biases. */
  readonly biases: number
  /** Whether the slot's bitmask says which tokens are allowed. */
  readonly masked: boolean
  /** Most likely tokens to report; −1 reports nothing, 0 the chosen token alone. */
  readonly topLogProbs: number
}

/** Words of a slot's record; `decodeSettings` says what they are. */
export const SETTINGS_WORDS = 12

/** Whether settings look at what a request's tokens were. */
export const hasPenalties = (s: SamplingSettings): boolean =>
  s.repetitionPenalty !== 1 || s.presencePenalty !== 0 || s.frequencyPenalty !== 0

/** The record of a slot. */
export function encodeSettings(
  s: SamplingSettings,
  { biases, masked, topLogProbs }: SlotOptions,
): Uint32Array {
  const words = new Uint32Array(SETTINGS_WORDS)
  const floats = new Float32Array(words.buffer)
  floats[0] = s.temperature
  words[1] = s.topK
  floats[2] = s.topP
  floats[3] = s.minP
  floats[4] = s.repetitionPenalty
  floats[5] = s.presencePenalty
  floats[6] = s.frequencyPenalty
  words[7] = s.seed
  words[8] = Math.floor(s.seed / 2 ** 32)
  words[9] = biases
  words[10] = (hasPenalties(s) ? 1 : 0) | (masked ? 2 : 0)
  words[11] = topLogProbs + 1
  return words
}

export type SettingsTable = In<u32, 'Slots 12'>

/** Device: the record of a slot, read at once. */
export function decodeSettings(table: SettingsTable, slot: i32) {
  const words = load(table, [slot, 0], SETTINGS_WORDS)
  const float = (at: number): f32 => f32.bits(words[at]!)
  return {
    temperature: float(0),
    topK: i32(words[1]!),
    topP: float(2),
    minP: float(3),
    repetitionPenalty: float(4),
    presencePenalty: float(5),
    frequencyPenalty: float(6),
    seed: [words[7]!, words[8]!] as const,
    biases: i32(words[9]!),
    isPenalized: (words[10]! & 1) === 1,
    isMasked: (words[10]! & 2) === 2,
    /** 0: nothing is reported, else one more than the most likely tokens that are. */
    reported: i32(words[11]!),
  }
}

/** The largest top-k for which the candidates of a row are few by all means but ties. */
export const FEW = 1024

/**
 * Device: whether the choice of a token looks at the sums of weights at all: top-k and min-p name their candidates without.
 * Where the candidates turn out to be too many, the sums are made then.
 */
export function needsSums(s: ReturnType<typeof decodeSettings>, V: number): boolean {
  const topK = s.topK
  const isRanked = topK > 0 && topK < V
  return s.temperature > 0 && (isRanked ? topK > FEW : s.topP < 1 || s.minP <= 0)
}
