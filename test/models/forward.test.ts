import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { recipeNamed } from '../../quantize/recipe.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { checkForward } from '../support/forward-check.ts'
import { type RandomLlamaOptions, writeRandomLlama } from '../support/random-llama.ts'

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
    const stored = format === 'bf16' ? 'bf16' : 'f16'
    await checkForward(device, folder, { name, seed: options.seed, tokens: 66, stored })
  })
}

/** What models do to queries and keys before they meet, and how far they see; one layer each, and few tokens. */
const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32 }
const attentions: readonly (readonly [string, RandomLlamaOptions])[] = [
  ['head norms', { seed: 11, dtype: 'f16', architecture: 'Qwen3ForCausalLM' }],
  [
    'half of a head rotated, YaRN',
    { seed: 12, dtype: 'f16', config: { partial_rotary_factor: 0.5, rope_scaling: yarn } },
  ],
  [
    'a window in the second of two layers',
    {
      ...{ seed: 13, dtype: 'f16', architecture: 'Qwen2ForCausalLM' },
      config: { num_hidden_layers: 2, use_sliding_window: true, sliding_window: 7, max_window_layers: 1 },
    },
  ],
  ['centred Hadamard keys', { seed: 14, dtype: 'f16', keyMean: true }],
]

for (const [name, options] of attentions) {
  for (const recipe of ['w4a8kv4', 'w4a16kv16-g128']) {
    test(`${name}, ${recipe}: logits are those of a plain float64 forward pass, but for rounding`, async () => {
      const small = { ...options, config: { num_hidden_layers: 1, ...options.config } }
      const folder = await makeModel(`${recipe}-${options.seed}`, small, recipe)
      if (options.keyMean) transformKeys(join(folder, 'model.safetensors'))
      await checkForward(device, folder, { name, seed: options.seed, tokens: 30, stored: 'f16' })
    })
  }
}

/** Has a checkpoint say that its keys are centred and go through a Hadamard transform. */
function transformKeys(path: string): void {
  const text = readFileSync(path, 'latin1')
  const changed = ['key_mean', 'key_hadamard'].reduce(
    (all, field) => all.replace(`"quattuor.kv.${field}":"false"`, `"quattuor.kv.${field}": "true"`),
    text,
  )
  assert.is(changed.split(': "true"').length, 3)
  writeFileSync(path, changed, 'latin1')
}

test.after(() => device.close())
test.run()
