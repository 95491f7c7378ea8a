import { logProbs } from '../kernels/log-probs.ts'
import type { LogitType } from '../kernels/sampling/groups.ts'
import type { Model } from '../models/model.ts'
import { type StepPart, stepOf } from '../models/step.ts'
import { prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'

export interface Perplexity {
  readonly perplexity: number
  /** Tokens scored: every one but the first. */
  readonly tokens: number
  readonly windows: number
}

/**
 * Perplexity of a text: exp of the mean negative log-probability of its tokens.
 *
 * The text is cut into windows of `window` input tokens that share no context; each input predicts the token after it,
 * the last of a window the first of the next, so every token but the very first is scored once. (The protocol of most
 * quantization papers leaves the first token of each window and the remainder out; the two differ by less than 0.1 %.)
 */
export async function perplexity(
  model: Model,
  ids: readonly number[],
  window: number,
  onProgress: (scored: number, total: number) => void = () => {},
): Promise<Perplexity> {
  const { limits, device } = model
  const chunk = Math.min(limits.tokens, limits.logitRows, window)
  const targets = Tensor.allocate(device, 'i32', [limits.logitRows])
  const out = Tensor.allocate(device, 'f32', [limits.logitRows])
  const score = await prepare(
    device,
    logProbs,
    { V: model.config.vocabSize, dtype: model.logits.dtype as LogitType },
    { logits: model.logits, targets, out },
  )
  const total = ids.length - 1
  let nats = 0
  let windows = 0
  try {
    for (const { part, targets: following, end } of windowParts(
      ids,
      window,
      chunk,
      limits.pagesPerSequence,
    )) {
      if (part.position === 0) windows++
      await model.step(stepOf([part], limits.pagesPerSequence))
      const count = part.ids.length
      targets.slice(0, count).write(following)
      if (score.dims.B !== count) score.resize({ B: count })
      score.run()
      for (const value of await out.slice(0, count).readFloats()) nats -= value
      onProgress(end, total)
    }
  } finally {
    targets.free()
    out.free()
  }
  return { perplexity: Math.exp(nats / total), tokens: total, windows }
}

/** A piece of a window as one step takes it. */
export interface WindowPart {
  readonly part: StepPart
  /** The tokens behind those of the part. */
  readonly targets: Int32Array
  /** Tokens scored up to here. */
  readonly end: number
}

/** A text in pieces of at most `chunk` tokens, window after window, every token but the first being a target once. */
export function* windowParts(
  ids: readonly number[],
  window: number,
  chunk: number,
  pagesPerSequence: number,
): Generator<WindowPart> {
  const pages = Array.from({ length: pagesPerSequence }, (_, i) => i)
  const total = ids.length - 1
  for (let start = 0; start < total; start += window) {
    const end = Math.min(start + window, total)
    for (let from = start; from < end; from += chunk) {
      const count = Math.min(chunk, end - from)
      yield {
        // One sequence at a time holds the first pages.
        part: { ids: ids.slice(from, from + count), position: from - start, pages, logits: count },
        targets: Int32Array.from(ids.slice(from + 1, from + 1 + count)),
        end: from + count,
      }
    }
  }
}
