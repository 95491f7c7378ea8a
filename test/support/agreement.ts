import * as assert from 'uvu/assert'
import type { Device } from '../../runtime/device.ts'
import { continueGreedily, loadForTest, logitsOf } from './generate.ts'

/** Continues each prompt alone and all of them together; the ids must be the same. Returns them. */
export async function aloneAsTogether(
  device: Device,
  folder: string,
  prompts: readonly (readonly number[])[],
  maxTokens: number,
): Promise<number[][]> {
  const context = Math.max(...prompts.map((prompt) => prompt.length)) + maxTokens
  const model = await loadForTest(device, folder, { sequences: prompts.length, context })
  try {
    const together = await continueGreedily(model, prompts, maxTokens)
    for (const [i, prompt] of prompts.entries()) {
      const [alone] = await continueGreedily(model, [prompt], maxTokens)
      assert.equal(alone, together[i], `prompt ${i} alone and in a batch of ${prompts.length}`)
    }
    return together
  } finally {
    model.free()
  }
}

export interface Agreement {
  /** Largest difference of a logit between the devices, over all positions of all sequences. */
  readonly largestDifference: number
  /** Tokens that were compared, and those after a first difference, which were not. */
  readonly compared: number
  readonly total: number
}

/**
 * Compares what two devices generated. Up to the first difference ids must be equal; there, the two best logits must be
 * so near that the devices' own differences can swap them: at most twice the largest logit difference measured on the
 * same tokens. Devices differ through `ex2`, `rcp`, `rsqrt` and `lg2`, whose approximations are theirs, and through the
 * order in which a tensor core sums 16-bit products.
 */
export async function compareDevices(
  devices: readonly [Device, Device],
  folder: string,
  prompts: readonly (readonly number[])[],
  outputs: readonly [readonly (readonly number[])[], readonly (readonly number[])[]],
): Promise<Agreement> {
  const longest = Math.max(...prompts.map((prompt, i) => prompt.length + outputs[0][i]!.length))
  const load = (device: Device) =>
    loadForTest(device, folder, { sequences: 1, context: longest, tokens: longest })
  const models = [await load(devices[0]), await load(devices[1])] as const
  try {
    let largestDifference = 0
    let compared = 0
    const ties: { margin: number; prompt: number }[] = []
    for (const [i, prompt] of prompts.entries()) {
      const [first, second] = [outputs[0][i]!, outputs[1][i]!]
      const apart = first.findIndex((id, at) => second[at] !== id)
      const same = apart < 0 ? first : first.slice(0, apart)
      compared += same.length
      const tokens = [...prompt, ...same]
      const logits = [await logitsOf(models[0], tokens), await logitsOf(models[1], tokens)] as const
      for (const [position, row] of logits[0].entries()) {
        const other = logits[1][position]!
        for (let id = 0; id < row.length; id++)
          largestDifference = Math.max(largestDifference, Math.abs(row[id]! - other[id]!))
      }
      if (apart < 0) continue
      const [best, next] = Float32Array.from(logits[0].at(-1)!).sort().reverse()
      ties.push({ margin: best! - next!, prompt: i })
    }
    for (const { margin, prompt } of ties) {
      assert.ok(
        margin <= 2 * largestDifference,
        `prompt ${prompt}: ids differ at a margin of ${margin}, and logits differ by ${largestDifference} at most`,
      )
    }
    return { largestDifference, compared, total: outputs[0].reduce((sum, ids) => sum + ids.length, 0) }
  } finally {
    for (const model of models) model.free()
  }
}
