import { compareLogits } from '../kernels/compare-logits.ts'
import type { Model } from '../models/model.ts'
import { prepare } from '../runtime/kernel.ts'
import { piece, scoreWindows } from './score-windows.ts'

/** How a model does on a text, and how far it is from another one. */
export interface Comparison {
  readonly perplexity: number
  /** Mean of D(first ‖ second) over the tokens, in nats. */
  readonly divergence: number
  /** The part of the tokens for which both models hold the same next one for the likeliest, from 0 to 1. */
  readonly agreement: number
  /** Tokens scored. */
  readonly tokens: number
  /** Tokens that the second model took in a second, its logits included. */
  readonly tokensPerSecond: number
}

/**
 * Runs two models of one vocabulary over a text side by side, in windows as `scoreWindows` has them. Both were loaded on one
 * device with f32 logits and the same limits; they may be one model.
 */
export async function compareModels(
  first: Model,
  second: Model,
  ids: readonly number[],
  window: number,
  onProgress: (scored: number, total: number) => void = () => {},
): Promise<Comparison> {
  const { device, config } = second
  const chunk = piece(second, window)
  const tokens = ids.length - 1
  const timed = { seconds: 0, tokens: 0 }
  const sums = await scoreWindows({
    ...{ model: second, ids, window, onProgress },
    outputs: { logProb: 'f32', divergence: 'f32', agrees: 'i32' },
    prepare: (tensors) =>
      prepare(
        device,
        compareLogits,
        { V: config.vocabSize },
        { first: first.logits, second: second.logits, ...tensors },
      ),
    async run(step, end) {
      if (first !== second) await first.step(step)
      await device.synchronize()
      const started = performance.now()
      await second.step(step)
      await device.synchronize()
      // The first steps compile.
      if (end <= 2 * chunk && end < tokens) return
      timed.seconds += (performance.now() - started) / 1000
      timed.tokens += step.ids.length
    },
  })
  return {
    perplexity: Math.exp(-sums.logProb / tokens),
    divergence: sums.divergence / tokens,
    agreement: sums.agrees / tokens,
    tokens,
    tokensPerSecond: timed.tokens / timed.seconds,
  }
}
