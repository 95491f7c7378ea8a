import { logProbs } from '../kernels/log-probs.ts'
import type { LogitType } from '../kernels/sampling/groups.ts'
import type { Model } from '../models/model.ts'
import { prepare } from '../runtime/kernel.ts'
import { scoreWindows } from './score-windows.ts'

export interface Perplexity {
  readonly perplexity: number
  /** Tokens scored: every one but the first. */
  readonly tokens: number
  readonly windows: number
}

/**
 * Perplexity of a text: exp of the mean negative log-probability of its tokens, in windows as `scoreWindows` has them. (The
 * protocol of most quantization papers leaves the first token of each window and the remainder out; the two differ by less
 * than 0.1 %.)
 */
export async function perplexity(
  model: Model,
  ids: readonly number[],
  window: number,
  onProgress: (scored: number, total: number) => void = () => {},
): Promise<Perplexity> {
  const { device, logits, config } = model
  const constants = { V: config.vocabSize, dtype: logits.dtype as LogitType }
  const { out } = await scoreWindows({
    ...{ model, ids, window, onProgress },
    outputs: { out: 'f32' },
    prepare: (tensors) => prepare(device, logProbs, constants, { logits, ...tensors }),
    run: (step) => model.step(step),
  })
  const tokens = ids.length - 1
  return { perplexity: Math.exp(-out / tokens), tokens, windows: Math.ceil(tokens / window) }
}
