import { compareLogits } from '../kernels/compare-logits.ts'
import type { Model } from '../models/model.ts'
import { stepOf } from '../models/step.ts'
import { prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import { windowParts } from './perplexity.ts'

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
 * Runs two models of one vocabulary over a text side by side, in windows as `perplexity` has them. Both were loaded on one
 * device with f32 logits and the same limits; they may be one model.
 */
export async function compareModels(
  first: Model,
  second: Model,
  ids: readonly number[],
  window: number,
  onProgress: (scored: number, total: number) => void = () => {},
): Promise<Comparison> {
  const { limits, device } = second
  const chunk = Math.min(limits.tokens, limits.logitRows, window)
  const rows = limits.logitRows
  const targets = Tensor.allocate(device, 'i32', [rows])
  const logProb = Tensor.allocate(device, 'f32', [rows])
  const divergence = Tensor.allocate(device, 'f32', [rows])
  const agrees = Tensor.allocate(device, 'i32', [rows])
  const compare = await prepare(
    device,
    compareLogits,
    { V: second.config.vocabSize },
    { first: first.logits, second: second.logits, targets, logProb, divergence, agrees },
  )
  const total = ids.length - 1
  const sums = { nats: 0, divergence: 0, agreements: 0 }
  let seconds = 0
  let timed = 0
  try {
    for (const { part, targets: following, end } of windowParts(
      ids,
      window,
      chunk,
      limits.pagesPerSequence,
    )) {
      const step = stepOf([part], limits.pagesPerSequence)
      if (first !== second) await first.step(step)
      await device.synchronize()
      const started = performance.now()
      await second.step(step)
      await device.synchronize()
      const count = part.ids.length
      // The first steps compile.
      if (end > 2 * chunk || end === total) {
        seconds += (performance.now() - started) / 1000
        timed += count
      }
      targets.slice(0, count).write(following)
      if (compare.dims.B !== count) compare.resize({ B: count })
      compare.run()
      for (const value of await logProb.slice(0, count).readFloats()) sums.nats -= value
      for (const value of await divergence.slice(0, count).readFloats()) sums.divergence += value
      for (const value of await agrees.slice(0, count).readFloats()) sums.agreements += value
      onProgress(end, total)
    }
  } finally {
    for (const tensor of [targets, logProb, divergence, agrees]) tensor.free()
  }
  return {
    perplexity: Math.exp(sums.nats / total),
    divergence: sums.divergence / total,
    agreement: sums.agreements / total,
    tokens: total,
    tokensPerSecond: timed / seconds,
  }
}
