import type { SamplingSettings } from './settings.ts'

/** What a slot's list says of a token: added to its logit before step `until`. */
export interface Bias {
  readonly id: number
  readonly value: number
  readonly until: number
}

/** What a request's tokens were, and which may come. */
export interface RowContext {
  readonly prompt: readonly number[]
  readonly output: readonly number[]
  readonly biases: readonly Bias[]
  /** Whether a token may be drawn; absent: all may. */
  readonly allowed?: ((id: number) => boolean) | undefined
}

/** Logits as penalties, biases and bitmask change them, in f32, as the kernel rounds. */
export function adjustReference(
  logits: Float32Array,
  s: SamplingSettings,
  context: RowContext,
): Float32Array {
  const { prompt, output, biases, allowed } = context
  const [repetition, presence, frequency] = [s.repetitionPenalty, s.presencePenalty, s.frequencyPenalty].map(
    Math.fround,
  ) as [number, number, number]
  const adjusted = logits.slice()
  for (const id of new Set([...prompt, ...output])) {
    const logit = adjusted[id]!
    adjusted[id] = logit > 0 ? logit / repetition : logit * repetition
  }
  for (const id of new Set(output)) {
    const occurrences = output.filter((other) => other === id).length
    adjusted[id]! -= presence
    adjusted[id]! -= Math.fround(occurrences * frequency)
  }
  for (const { id, value, until } of biases) if (output.length < until) adjusted[id]! += Math.fround(value)
  return allowed ? adjusted.map((logit, id) => (allowed(id) ? logit : Number.NEGATIVE_INFINITY)) : adjusted
}

/** The ids that the cuts leave and their probabilities, by sorting, in float64; ties at a cut are kept. */
export function keptReference(logits: ArrayLike<number>, s: SamplingSettings): Map<number, number> {
  const values = Float64Array.from(logits)
  const max = values.reduce((a, b) => Math.max(a, b))
  const weights = values.map((logit) => Math.exp((logit - max) / s.temperature))
  const order = [...values.keys()].sort((a, b) => values[b]! - values[a]!)
  let cut = Number.NEGATIVE_INFINITY
  if (s.topK > 0 && s.topK < values.length) cut = values[order[s.topK - 1]!]!
  const kept = order.filter((id) => values[id]! >= cut)
  if (s.topP < 1) {
    const wanted = s.topP * kept.reduce((sum, id) => sum + weights[id]!, 0)
    let sum = 0
    for (const id of kept) {
      sum += weights[id]!
      if (sum >= wanted) {
        cut = Math.max(cut, values[id]!)
        break
      }
    }
  }
  const ids = order.filter((id) => values[id]! >= cut && weights[id]! > 0 && weights[id]! >= s.minP)
  const total = ids.reduce((sum, id) => sum + weights[id]!, 0)
  return new Map(ids.map((id) => [id, weights[id]! / total]))
}

/** Log-probabilities of all tokens, in float64. */
export function logProbsOf(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits)
  const max = values.reduce((a, b) => Math.max(a, b))
  const logOfMass = Math.log(values.reduce((sum, logit) => sum + Math.exp(logit - max), 0))
  return values.map((logit) => logit - max - logOfMass)
}
