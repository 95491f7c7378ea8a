import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import {
  type CheckpointFormat,
  companionFileNames,
  copyCompanionFiles,
  describeFormat,
  floatFormat,
  formatName,
  parseFormat,
} from '../../checkpoint/quantized.ts'
import { widen } from '../../checkpoint/tensor.ts'
import { sharedPath } from '../support/shared-models.ts'
import { assertRefuses, temporaryFolder, writeRaw } from './support.ts'

const demo = fileURLToPath(new URL('../../examples/models/nano-w4a8kv4/', import.meta.url))
const embeddings = { 'model.embed_tokens.weight': { dtype: 'F16', shape: [2, 2], data_offsets: [0, 8] } }

/** A folder with the configuration of the demo model and the weights of none. */
function folderWithConfig(): string {
  const folder = temporaryFolder()
  copyCompanionFiles(folder, demo)
  return folder
}

const w4: CheckpointFormat = {
  name: 'w4a8kv4-g128',
  weights: { bits: 4, group: 128, zero: 'minimum', layout: 'mma-a-k32' },
  activations: { bits: 8, sum: 'codes' },
  kv: { bits: 4, keyMean: true, keyHadamard: false },
}

test('an unquantized folder has the format of its embeddings, and the end tokens of generation_config.json', () => {
  const folder = folderWithConfig()
  writeRaw(join(folder, 'model.safetensors'), embeddings, 8)
  writeFileSync(join(folder, 'generation_config.json'), '{"eos_token_id": [9, 10]}')
  const checkpoint = openCheckpoint(folder)
  assert.equal(checkpoint.format, floatFormat('f16'))
  assert.is(checkpoint.config.hiddenSize, 256)
  assert.equal(checkpoint.config.eosIds, [9, 10])
  assert.equal(checkpoint.generationConfig?.eosIds, [9, 10])
  assert.equal(checkpoint.tensors.names, ['model.embed_tokens.weight'])
  checkpoint.close()
})

test('weights of more layers than the configuration has are refused, not ignored', () => {
  const folder = folderWithConfig()
  const norm = { dtype: 'F16', shape: [2, 2], data_offsets: [8, 16] }
  const write = (layer: number) =>
    writeRaw(
      join(folder, 'model.safetensors'),
      { ...embeddings, [`model.layers.${layer}.input_layernorm.weight`]: norm },
      16,
    )
  write(3)
  openCheckpoint(folder).close()
  write(4)
  assertRefuses(() => openCheckpoint(folder), 'model.layers.4.input_layernorm.weight', 'num_hidden_layers 4')
})

test('a quantized folder describes itself', () => {
  const folder = folderWithConfig()
  const metadata = describeFormat(w4, 'quattuor 1.2.3')
  assert.is(metadata.get('quattuor.producer'), 'quattuor 1.2.3')
  writeRaw(
    join(folder, 'model.safetensors'),
    { __metadata__: Object.fromEntries(metadata), ...embeddings },
    8,
  )
  const checkpoint = openCheckpoint(folder)
  assert.equal(checkpoint.format, w4)
  assert.equal(checkpoint.metadata, metadata)
  checkpoint.close()
})

test('names follow from the fields', () => {
  assert.is(formatName(w4), 'w4a8kv4-g128')
  assert.is(formatName({ ...w4, weights: { ...w4.weights, group: 0 } }), 'w4a8kv4')
  assert.is(
    formatName({ ...w4, weights: { ...w4.weights, bits: 8, group: 0 }, kv: { ...w4.kv, bits: 8 } }),
    'w8a8kv8',
  )
})

test('a description that is incomplete, contradicts itself or is too new is refused', () => {
  const described = describeFormat(w4, 'p')
  const changed = (key: string, value: string | undefined) => {
    const copy = new Map(described)
    if (value === undefined) copy.delete(key)
    else copy.set(key, value)
    return () => parseFormat('f', copy)
  }
  assert.is(parseFormat('f', new Map([['format', 'pt']])), undefined)
  assertRefuses(changed('quattuor.format_version', '1'), 'f has format version 1', 'quantize the model again')
  assertRefuses(changed('quattuor.format_version', undefined), 'unknown')
  assertRefuses(changed('quattuor.format', 'w4a8kv4'), 'calls itself w4a8kv4', 'describes w4a8kv4-g128')
  assertRefuses(changed('quattuor.weights.bits', '5'), 'quattuor.weights.bits')
  assertRefuses(changed('quattuor.weights.group', '-1'), 'quattuor.weights.group')
  assertRefuses(changed('quattuor.kv.key_mean', 'yes'), 'quattuor.kv.key_mean')
  for (const key of described.keys())
    if (key !== 'quattuor.producer') assertRefuses(changed(key, undefined), 'quantize')
})

test('whatever is missing is named', () => {
  assertRefuses(() => openCheckpoint('/nonexistent'), '/nonexistent is not a folder')
  assertRefuses(() => openCheckpoint(temporaryFolder()), 'config.json is missing')
  const folder = folderWithConfig()
  assertRefuses(() => openCheckpoint(folder), 'neither model.safetensors nor model.safetensors.index.json')
  writeFileSync(join(folder, 'pytorch_model.bin'), '')
  assertRefuses(() => openCheckpoint(folder), 'pytorch_model.bin', 'safetensors')
  writeRaw(join(folder, 'model-00001-of-00002.safetensors'), embeddings, 8)
  assertRefuses(() => openCheckpoint(folder), 'shards and no model.safetensors.index.json')
  writeRaw(join(folder, 'model.safetensors'), {}, 0)
  assertRefuses(() => openCheckpoint(folder), 'no tensor model.embed_tokens.weight')
  const integers = { 'model.embed_tokens.weight': { dtype: 'I32', shape: [2], data_offsets: [0, 8] } }
  writeRaw(join(folder, 'model.safetensors'), integers, 8)
  assertRefuses(() => openCheckpoint(folder), 'model.embed_tokens.weight holds i32')
})

test('companion files are copied where they exist, into a folder that may not', () => {
  const folder = join(temporaryFolder(), 'new', 'folder')
  copyCompanionFiles(folder, demo)
  for (const name of companionFileNames) {
    assert.is(existsSync(join(folder, name)), existsSync(join(demo, name)), name)
    if (existsSync(join(demo, name)))
      assert.equal(readFileSync(join(folder, name)), readFileSync(join(demo, name)), name)
  }
})

for (const [name, tensors] of [
  ['nano', 38],
  ['small', 74],
] as const) {
  const folder = sharedPath(`models/${name}`)
  if (folder)
    test(`the ${name} model opens, in one file or in shards`, () => {
      const checkpoint = openCheckpoint(folder)
      const { config } = checkpoint
      assert.is(checkpoint.format.name, 'bf16')
      assert.is(checkpoint.tensors.names.length, tensors)
      const { shape } = checkpoint.tensors.info('model.layers.1.mlp.down_proj.weight')
      assert.equal(shape, [config.hiddenSize, config.intermediateSize])
      const values = widen(checkpoint.tensors.read('model.layers.1.mlp.down_proj.weight'))
      assert.ok(values.every(Number.isFinite))
      // A matrix of weights read from a wrong place would not look like one: trained ones are small and centred.
      const mean = values.reduce((sum, x) => sum + x, 0) / values.length
      const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length)
      assert.ok(
        deviation > 0.001 && deviation < 1 && Math.abs(mean) < 0.1 * deviation,
        `${mean} ${deviation}`,
      )
      checkpoint.close()
    })
}

test.run()
