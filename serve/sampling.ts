import { neutral, type SamplingSettings } from '../kernels/sampling/settings.ts'

/** Most likely tokens whose log-probabilities may be asked for. */
export const MOST_TOP_LOG_PROBS = 20

/** How the tokens of a request are chosen; see `kernels/sampling/` for what the numbers mean. */
export interface Sampling extends SamplingSettings {
  /** Added to the logits of these token ids; −Infinity forbids them. */
  readonly logitBias?: ReadonlyMap<number, number>
  /** End tokens are not drawn before so many tokens have been. */
  readonly minTokens?: number
  /** Reports the log-probability of each chosen token and of so many of the most likely; absent: nothing. */
  readonly topLogProbs?: number
}

/** Takes the likeliest token, whatever the seed. */
export const greedy: Sampling = { ...neutral, temperature: 0 }

/** A way to choose tokens that makes no sense; nothing of the request was run. */
export class SamplingError extends Error {
  override readonly name = 'SamplingError'
}

const bounds = {
  temperature: [0, 100],
  topK: [0, 2 ** 31 - 1],
  topP: [0, 1],
  minP: [0, 1],
  repetitionPenalty: [0.01, 100],
  presencePenalty: [-100, 100],
  frequencyPenalty: [-100, 100],
  seed: [0, Number.MAX_SAFE_INTEGER],
  minTokens: [0, 2 ** 31 - 1],
  topLogProbs: [0, MOST_TOP_LOG_PROBS],
} as const
const whole = new Set(['topK', 'seed', 'minTokens', 'topLogProbs'])

/** Throws `SamplingError` where a number is out of its bounds, or a bias for no token of the vocabulary. */
export function checkSampling(sampling: Sampling, vocabulary: number): void {
  for (const [name, [least, most]] of Object.entries(bounds)) {
    const value = sampling[name as keyof typeof bounds]
    if (value === undefined) continue
    if (!(value >= least && value <= most) || (whole.has(name) && !Number.isInteger(value)))
      throw new SamplingError(
        `${name} is ${value}; give a ${whole.has(name) ? 'whole ' : ''}number from ${least} to ${most}`,
      )
  }
  for (const [id, value] of sampling.logitBias ?? []) {
    if (!Number.isInteger(id) || id < 0 || id >= vocabulary)
      throw new SamplingError(
        `logitBias names token ${id}, which is not in the vocabulary of ${vocabulary}; leave it out`,
      )
    if (Number.isNaN(value) || value === Number.POSITIVE_INFINITY)
      throw new SamplingError(`logitBias of token ${id} is ${value}; give a finite number or -Infinity`)
  }
}
