import * as assert from 'uvu/assert'
import type { Device } from '../../runtime/device.ts'
import { loadForTest, logitsOf } from './generate.ts'
import { LlamaReference } from './llama-reference.ts'
import { rng } from './rng.ts'

/** Root mean square of the difference over that of the expected values. */
function relativeError(actual: readonly ArrayLike<number>[], expected: readonly Float64Array[]): number {
  let [difference, magnitude] = [0, 0]
  expected.forEach((row, t) => {
    row.forEach((value, i) => {
      difference += (actual[t]![i]! - value) ** 2
      magnitude += value ** 2
    })
  })
  return Math.sqrt(difference / magnitude)
}

/** The logits of `tokens` random ids are those of a plain float64 forward pass, but for rounding to `stored`. */
export async function checkForward(
  device: Device,
  folder: string,
  o: {
    readonly name: string
    readonly seed: number
    readonly tokens: number
    readonly stored: 'f16' | 'bf16'
  },
): Promise<void> {
  const random = rng(o.seed)
  const ids = Array.from({ length: o.tokens }, () => random.integer(0, 299))
  const model = await loadForTest(device, folder, { sequences: 1, context: 128, tokens: o.tokens })
  const reference = new LlamaReference(folder)
  const exact = reference.forward(ids)
  const rounded = reference.forward(ids, o.stored)
  const logits = await logitsOf(model, ids)
  const [rounding, error, rest] = [
    relativeError(rounded, exact),
    relativeError(logits, exact),
    relativeError(logits, rounded),
  ]
  console.log(
    `${o.name}: relative error ${error.toFixed(5)}, ${rounding.toFixed(5)} of it by rounding, ${rest.toFixed(5)} besides`,
  )
  // What is right is as far from the exact result as rounding alone is, and no further from the rounded one, from which
  // it differs where its f32 or 15-bit arithmetic falls on the other side of a border between two numbers or codes.
  assert.ok(rounding < 0.05, 'the model is not so rough that rounding hides all else')
  assert.ok(error <= 1.1 * rounding, `the relative error is ${error}, and rounding makes ${rounding}`)
  assert.ok(rest <= rounding + 2 ** -12, `the relative error besides rounding is ${rest} of ${rounding}`)
  reference.close()
  model.free()
}
