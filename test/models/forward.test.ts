import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { recipeNamed } from '../../quantize/recipe.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { loadForTest, logitsOf } from '../support/generate.ts'
import { LlamaReference } from '../support/llama-reference.ts'
import { type RandomLlamaOptions, writeRandomLlama } from '../support/random-llama.ts'
import { rng } from '../support/rng.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-forward-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const device = openEmulator()

/** Writes a random model, quantizes it where a recipe is named, and returns the folder. */
async function makeModel(name: string, options: RandomLlamaOptions, recipe?: string): Promise<string> {
  const folder = await writeRandomLlama(join(root, `${name}-plain`), options)
  if (!recipe) return folder
  const src = openCheckpoint(folder)
  const dst = join(root, name)
  await quantizeCheckpoint(dst, src, recipeNamed(recipe), { producer: 'quattuor test' })
  src.close()
  return dst
}

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

const llama3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 64,
}
const models: readonly (readonly [string, RandomLlamaOptions])[] = [
  ['f16', { seed: 1, dtype: 'f16' }],
  [
    'bf16',
    {
      seed: 2,
      dtype: 'bf16',
      architecture: 'Qwen2ForCausalLM',
      config: { tie_word_embeddings: true, rope_scaling: llama3 },
    },
  ],
  ['w4a16kv16-g128', { seed: 8, dtype: 'f16', architecture: 'Qwen2ForCausalLM' }],
  ['w8a8kv8', { seed: 4, dtype: 'bf16' }],
  ['w4a8kv4', { seed: 6, dtype: 'f16', architecture: 'Qwen2ForCausalLM' }],
  ['w4a8kv4-g128', { seed: 7, dtype: 'bf16', config: { num_key_value_heads: 4, rope_scaling: llama3 } }],
]

for (const [format, options] of models) {
  const name = `${format} ${options.architecture ?? 'LlamaForCausalLM'} ${options.dtype}`
  test(`${name}: logits are those of a plain float64 forward pass, but for rounding`, async () => {
    const recipe = format === 'f16' || format === 'bf16' ? undefined : format
    const folder = await makeModel(`${format}-${options.seed}`, options, recipe)
    const random = rng(options.seed)
    const ids = Array.from({ length: 66 }, () => random.integer(0, 299))
    const model = await loadForTest(device, folder, { sequences: 1, context: 128, tokens: 66 })
    const reference = new LlamaReference(folder)
    const exact = reference.forward(ids)
    const rounded = reference.forward(ids, format === 'bf16' ? 'bf16' : 'f16')
    const logits = await logitsOf(model, ids)
    const [rounding, error, rest] = [
      relativeError(rounded, exact),
      relativeError(logits, exact),
      relativeError(logits, rounded),
    ]
    console.log(
      `${name}: relative error ${error.toFixed(5)}, ${rounding.toFixed(5)} of it by rounding, ${rest.toFixed(5)} besides`,
    )
    // What is right is as far from the exact result as rounding alone is, and no further from the rounded one, from which
    // it differs where its f32 or 15-bit arithmetic falls on the other side of a border between two numbers or codes.
    assert.ok(rounding < 0.05, 'the model is not so rough that rounding hides all else')
    assert.ok(error <= 1.2 * rounding, `the relative error is ${error}, and rounding makes ${rounding}`)
    assert.ok(rest <= rounding + 2 ** -12, `the relative error besides rounding is ${rest} of ${rounding}`)
    reference.close()
    model.free()
  })
}

test.after(() => device.close())
test.run()
