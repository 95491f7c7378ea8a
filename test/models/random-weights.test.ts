import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CheckpointFormat } from '../../checkpoint/quantized.ts'
import { Model } from '../../models/model.ts'
import { randomCheckpoint } from '../../models/random-weights.ts'
import { namedConfig, namedShapes } from '../../models/shapes.ts'
import { formatOf, type Recipe } from '../../quantize/recipe.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { logitsOf } from '../support/generate.ts'
import { modelConfig } from '../support/model-config.ts'

const format = (weights: Recipe['weights'], kv: Recipe['kv'] = 4): CheckpointFormat =>
  formatOf({ weights, kv })
const config = modelConfig({ heads: 4, layers: 6, vocabSize: 300, attentionBias: true })

test('the same seed gives the same weights, and another seed others', () => {
  const names = randomCheckpoint(config, format('w4a8')).tensors.names
  const bytes = (seed: number) => {
    const { tensors } = randomCheckpoint(config, format('w4a8'), seed)
    return names.map((name) => Buffer.from(tensors.read(name).bytes).toString('base64'))
  }
  assert.equal(bytes(5), bytes(5))
  const [one, other] = [bytes(5), bytes(6)]
  const same = names.filter((_, i) => one[i] === other[i])
  assert.equal(same, [])
})

test('layers differ, and so do rows that lie a power of two apart', () => {
  const { tensors } = randomCheckpoint(config, format('w4a8'))
  const codes = (layer: number) => tensors.read(`model.layers.${layer}.mlp.gate_up_proj.codes`).bytes
  assert.not.equal(codes(0), codes(1))
  const { bytes, shape } = tensors.read('lm_head.weight')
  const row = (i: number) => bytes.subarray(i * 2 * shape[1]!, (i + 1) * 2 * shape[1]!)
  for (const apart of [1, 2, 64, 256]) assert.not.equal(row(0), row(apart))
})

test('a part of a tensor has the bytes that the whole has there', () => {
  const { tensors } = randomCheckpoint(config, format('w4a8-g128'))
  const name = 'model.layers.1.mlp.down_proj.codes'
  const part = new Uint8Array(1000)
  tensors.readInto(part, name, 2 ** 15)
  assert.equal(part, tensors.read(name).bytes.subarray(2 ** 15, 2 ** 15 + 1000))
})

for (const weights of ['w4a8', 'w4a8-g128', 'w8a8', 'w4a16-g128', 'bf16'] as const)
  test(`${weights}: a model loads, and its activations and logits stay near 1`, async () => {
    const device = openEmulator()
    const checkpoint = randomCheckpoint(config, format(weights, weights === 'bf16' ? 16 : 4), 3)
    const limits = { tokens: 8, sequences: 1, pagesPerSequence: 1, logitRows: 8 }
    const model = await Model.load(device, checkpoint, { limits, pages: 1 })
    const rms = (values: Float32Array) =>
      Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length)
    const logits = await logitsOf(model, [1, 200, 3, 4, 299, 6, 7, 0])
    for (const row of logits) assert.ok(Math.abs(rms(row) - 1) < 0.25, `logits of ${rms(row)}`)
    // Each layer adds two vectors of at most about 1 to embeddings of 1.
    const x = rms(await model.activations.x.readFloats())
    assert.ok(x > 1.1 && x < Math.sqrt(1 + 2 * config.layers), `residual stream of ${x}`)
    model.free()
    await device.close()
  })

test('a quantized output head gives logits near 1 as well', async () => {
  const device = openEmulator()
  const head = formatOf({ weights: 'w4a8', kv: 4, head: 'w8a8' })
  const limits = { tokens: 4, sequences: 1, pagesPerSequence: 1, logitRows: 4 }
  const model = await Model.load(device, randomCheckpoint(config, head, 3), { limits, pages: 1 })
  for (const row of await logitsOf(model, [1, 200, 3, 4])) {
    const rms = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / row.length)
    assert.ok(Math.abs(rms - 1) < 0.25, `logits of ${rms}`)
  }
  model.free()
  await device.close()
})

test('a named configuration is that of its shape, in every format that has kernels', () => {
  for (const name of Object.keys(namedShapes) as (keyof typeof namedShapes)[]) {
    const named = namedConfig(name)
    const { tensors } = randomCheckpoint(named, format('w4a8'))
    const { shape } = tensors.info(`model.layers.${named.layers - 1}.mlp.down_proj.codes`)
    assert.equal(shape.slice(0, 2), [named.hiddenSize / 64, Math.ceil(named.intermediateSize / 128)])
    assert.is(tensors.has(`model.layers.${named.layers}.mlp.down_proj.codes`), false)
    assert.is(tensors.has('model.layers.0.self_attn.qkv_proj.bias'), name.startsWith('qwen'))
  }
  assert.throws(
    () => randomCheckpoint(namedConfig('llama-3-8b'), format('w4a8')).tensors.read('nothing'),
    /random weights \(seed 1\): there is no tensor nothing/,
  )
})

test.run()
