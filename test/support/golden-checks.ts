import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import type { Device } from '../../runtime/device.ts'
import { continueGreedily, loadForTest, logitsOf } from './generate.ts'
import type { Golden } from './shared-models.ts'

/**
 * Largest difference of a logit computed with bf16 weights and activations from the one in fp32. The golden files hold
 * the same models run in bf16 by another program, whose logits differ from fp32 by up to 0.13 (nano) and 0.25 (small)
 * on their two prompts; ours round at other places but about as often.
 */
export const bf16LogitBound = { nano: 0.25, small: 0.35 } as const

/**
 * Continues the golden prompts greedily in bf16, all at once. Ids must be the golden ones up to the first difference,
 * which may only come where the stored margin of the two best logits is within the errors of both. Returns how many ids
 * were equal before that.
 */
export async function checkGoldenIds(
  device: Device,
  folder: string,
  golden: Golden,
  bound: number,
): Promise<number> {
  const cases = [...golden.greedy, ...golden.chat_greedy]
  const longest = Math.max(...cases.map((c) => c.input_ids.length + c.output_ids.length))
  const model = await loadForTest(device, folder, { sequences: cases.length, context: longest })
  const checkpoint = openCheckpoint(folder)
  const { eosIds } = checkpoint.config
  checkpoint.close()
  try {
    const outputs = await continueGreedily(
      model,
      cases.map((c) => c.input_ids),
      Math.max(...cases.map((c) => c.output_ids.length)),
      eosIds,
    )
    let equal = 0
    for (const [i, { output_ids, top1_minus_top2 }] of cases.entries()) {
      const expected = output_ids.filter((id) => !eosIds.includes(id))
      const apart = expected.findIndex((id, at) => outputs[i]![at] !== id)
      equal += apart < 0 ? expected.length : apart
      if (apart >= 0) {
        const margin = top1_minus_top2[apart]!
        assert.ok(margin <= 2 * bound, `prompt ${i} differs at token ${apart}, whose margin is ${margin}`)
      }
    }
    return equal
  } finally {
    model.free()
  }
}

/**
 * Runs each golden prompt with its golden continuation in one pass: at every position whose stored margin exceeds the
 * errors of both logits, the best id must be the golden one. Returns how many positions that were.
 */
export async function checkGoldenArgmax(
  device: Device,
  folder: string,
  golden: Golden,
  bound: number,
): Promise<number> {
  const cases = [...golden.greedy, ...golden.chat_greedy]
  const longest = Math.max(...cases.map((c) => c.input_ids.length + c.output_ids.length))
  const model = await loadForTest(device, folder, { sequences: 1, context: longest, tokens: longest })
  let positions = 0
  try {
    for (const [i, { input_ids, output_ids, top1_minus_top2 }] of cases.entries()) {
      const logits = await logitsOf(model, [...input_ids, ...output_ids])
      for (const [at, id] of output_ids.entries()) {
        if (top1_minus_top2[at]! <= 2 * bound) continue
        const row = logits[input_ids.length - 1 + at]!
        const best = row.indexOf(row.reduce((a, b) => Math.max(a, b)))
        assert.is(best, id, `prompt ${i}, token ${at}`)
        positions++
      }
    }
    return positions
  } finally {
    model.free()
  }
}

/** Compares the golden logits at every position of their prompts. Returns the largest difference. */
export async function largestLogitError(device: Device, folder: string, golden: Golden): Promise<number> {
  const longest = Math.max(...golden.logits.map((c) => c.input_ids.length))
  const model = await loadForTest(device, folder, { sequences: 1, context: longest, tokens: longest })
  let largest = 0
  try {
    for (const { input_ids, positions } of golden.logits) {
      const logits = await logitsOf(model, input_ids)
      for (const { position, top_ids, top_values } of positions) {
        for (const [i, id] of top_ids.entries())
          largest = Math.max(largest, Math.abs(logits[position]![id]! - top_values[i]!))
      }
    }
    return largest
  } finally {
    model.free()
  }
}
