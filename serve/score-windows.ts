import { PAGE_TOKENS } from '../kernels/formats/kv.ts'
import type { Model } from '../models/model.ts'
import { type StepInput, type StepPart, stepOf } from '../models/step.ts'
import type { Launch } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'

export interface WindowScores<Name extends string> {
  readonly model: Model
  readonly ids: readonly number[]
  /** Input tokens of a window. */
  readonly window: number
  /** What `prepare`'s kernel says of each row of logits, by the name of its argument. */
  readonly outputs: Readonly<Record<Name, 'f32' | 'i32'>>
  /** Binds a kernel of a word `B`, rows, to the ids that rows should have foretold and to its outputs, one a row each. */
  readonly prepare: (tensors: Readonly<Record<Name | 'targets', Tensor>>) => Promise<Launch>
  /** Runs a step, of which all logits are wanted; `end` tokens are scored with it. */
  readonly run: (step: StepInput, end: number) => Promise<void>
  readonly onProgress: (scored: number, total: number) => void
}

/**
 * Sums of what a kernel says of the logits of a text, every token but the first being a target once. The text is cut into
 * windows of `window` input tokens that share no context; each input predicts the token after it, the last of a window the
 * first of the next.
 */
export async function scoreWindows<Name extends string>({
  model,
  ids,
  window,
  outputs,
  prepare,
  run,
  onProgress,
}: WindowScores<Name>): Promise<Record<Name, number>> {
  const { limits, device } = model
  const names = Object.keys(outputs) as Name[]
  const rows = (dtype: 'f32' | 'i32') => Tensor.allocate(device, dtype, [limits.logitRows])
  const targets = rows('i32')
  const outs = Object.fromEntries(names.map((name) => [name, rows(outputs[name])])) as Record<Name, Tensor>
  const sums = Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>
  try {
    const score = await prepare({ ...outs, targets })
    for (const { part, following, end } of windowParts(ids, window, piece(model, window))) {
      const count = part.ids.length
      await run(stepOf([part], limits.pagesPerSequence), end)
      targets.slice(0, count).write(following)
      if (score.dims.B !== count) score.resize({ B: count })
      score.run()
      for (const name of names)
        for (const value of await outs[name].slice(0, count).readFloats()) sums[name] += value
      onProgress(end, ids.length - 1)
    }
  } finally {
    for (const tensor of [targets, ...Object.values<Tensor>(outs)]) tensor.free()
  }
  return sums
}

/** Tokens of a window that one step takes. */
export const piece = ({ limits }: Model, window: number): number =>
  Math.min(limits.tokens, limits.logitRows, window)

/** A text in pieces of at most `most` tokens, window after window, and how many tokens are scored with each. */
function* windowParts(
  ids: readonly number[],
  window: number,
  most: number,
): Generator<{ readonly part: StepPart; readonly following: Int32Array; readonly end: number }> {
  const pages = Array.from({ length: Math.ceil(window / PAGE_TOKENS) }, (_, i) => i)
  const total = ids.length - 1
  for (let start = 0; start < total; start += window) {
    const stop = Math.min(start + window, total)
    for (let from = start; from < stop; from += most) {
      const end = Math.min(from + most, stop)
      yield {
        // One sequence at a time holds the first pages.
        part: {
          ids: ids.slice(from, end),
          position: from - start,
          isPrompt: true,
          pages,
          logits: end - from,
        },
        following: Int32Array.from(ids.slice(from + 1, end + 1)),
        end,
      }
    }
  }
}
