import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CheckpointError } from '../../checkpoint/error.ts'
import { type Checkpoint, openCheckpoint } from '../../checkpoint/open.ts'
import { stackRows } from '../../checkpoint/quantized-matrix.ts'
import { SafetensorsWriter } from '../../checkpoint/safetensors-writer.ts'
import { widen } from '../../checkpoint/tensor.ts'
import { bf16Bits } from '../../dsl/half.ts'
import { weightFormats } from '../../kernels/formats/index.ts'
import { QuantizeError } from '../../quantize/error.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { checkRecipe, formatOf, type Recipe, recipeNamed, recipes } from '../../quantize/recipe.ts'
import { rng } from '../support/rng.ts'
import { roundToNearest } from '../support/round-to-nearest.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-quantize-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))

const { normal } = rng(5)
const hidden = 128
const intermediate = 256
const layers = 2
const shapes: Record<string, number[]> = {
  'model.embed_tokens.weight': [40, hidden],
  'model.norm.weight': [hidden],
}
for (let layer = 0; layer < layers; layer++) {
  const prefix = `model.layers.${layer}.`
  shapes[`${prefix}input_layernorm.weight`] = [hidden]
  shapes[`${prefix}post_attention_layernorm.weight`] = [hidden]
  shapes[`${prefix}mlp.gate_proj.weight`] = [intermediate, hidden]
  shapes[`${prefix}mlp.up_proj.weight`] = [intermediate, hidden]
  shapes[`${prefix}mlp.down_proj.weight`] = [hidden, intermediate]
  for (const [name, rows] of [
    ['q', 128],
    ['k', 64],
    ['v', 64],
  ] as const) {
    shapes[`${prefix}self_attn.${name}_proj.weight`] = [rows, hidden]
    shapes[`${prefix}self_attn.${name}_proj.bias`] = [rows]
  }
  shapes[`${prefix}self_attn.o_proj.weight`] = [hidden, 128]
}

/** A small Qwen 2, which has biases, with random bf16 weights; `edit` may spoil a tensor. */
async function writeModel(edit?: (name: string, values: Uint16Array) => void): Promise<Checkpoint> {
  const folder = mkdtempSync(join(root, 'model-'))
  const config = {
    architectures: ['Qwen2ForCausalLM'],
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    intermediate_size: intermediate,
    vocab_size: 40,
    rms_norm_eps: 1e-6,
    hidden_act: 'silu',
    max_position_embeddings: 512,
    tie_word_embeddings: true,
    eos_token_id: 1,
  }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const plans = Object.entries(shapes).map(([name, shape]) => ({ name, dtype: 'bf16' as const, shape }))
  const writer = await SafetensorsWriter.create(join(folder, 'model.safetensors'), plans)
  for (const { name, shape } of plans) {
    const values = Uint16Array.from({ length: shape.reduce((a, b) => a * b) }, () => bf16Bits(normal() / 10))
    edit?.(name, values)
    await writer.write(name, new Uint8Array(values.buffer))
  }
  await writer.finish()
  return openCheckpoint(folder)
}

const quantize = async (src: Checkpoint, recipe: Recipe): Promise<Checkpoint> => {
  const dst = join(mkdtempSync(join(root, 'out-')), 'result')
  await quantizeCheckpoint(dst, src, recipe, { producer: 'quattuor 0.0.0' })
  return openCheckpoint(dst)
}

const arrayOf = ({ bytes }: { bytes: Uint8Array }): ArrayBuffer => new Uint8Array(bytes).buffer as ArrayBuffer

for (const name of ['w4a8kv4', 'w4a8kv4-g128', 'w4a8kv4-g32', 'w4a16kv16-g128', 'w8a8kv8'] as const) {
  const recipe = recipes[name]
  test(`${name}: projections are stored as their nearest codes in the order of the format`, async () => {
    const src = await writeModel()
    const dst = await quantize(src, recipe)
    assert.is(dst.format.name, name)
    assert.equal(dst.format, formatOf(recipe))
    assert.equal(dst.config, src.config)
    const format = weightFormats[recipe.weights]
    for (const [path, parts, n, k] of [
      ['self_attn.qkv_proj', ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'], 256, hidden],
      ['self_attn.o_proj', ['self_attn.o_proj'], hidden, 128],
      ['mlp.gate_up_proj', ['mlp.gate_proj', 'mlp.up_proj'], 2 * intermediate, hidden],
      ['mlp.down_proj', ['mlp.down_proj'], hidden, intermediate],
    ] as const) {
      const prefix = 'model.layers.1.'
      const expected = stackRows(
        parts.map((part) => {
          const tensor = src.tensors.read(`${prefix}${part}.weight`)
          const [rows, columns] = tensor.shape as [number, number]
          return roundToNearest({ name: part, rows, columns, values: widen(tensor) }, recipe.weights)
        }),
      )
      const stored = (suffix: string) => dst.tensors.read(`${prefix}${path}.${suffix}`)
      const { rows: _rows, columns: _columns, scale, zero, ...rest } = expected
      // Beside 16-bit activations a row's scales and zero points are its groups', and packed.
      const isPacked = recipe.weights === 'w4a16-g128'
      const packed = isPacked ? { ...rest, scale, zero } : rest
      assert.equal(format.unpack(new Uint32Array(arrayOf(stored('codes'))), n, k), packed, path)
      if (!isPacked) assert.equal(new Uint16Array(arrayOf(stored('scale'))), scale)
      if (zero && !isPacked) assert.equal(stored('zero').bytes, zero)
    }
    src.close()
    dst.close()
  })
}

test('bf16: every tensor is rounded, none renamed, and the element types describe the result', async () => {
  const src = await writeModel()
  const dst = await quantize(src, recipes.bf16)
  assert.equal([...dst.tensors.names].sort(), [...src.tensors.names].sort())
  assert.is(dst.format.name, 'bf16')
  for (const name of src.tensors.names)
    assert.equal(dst.tensors.read(name).bytes, src.tensors.read(name).bytes)
  src.close()
  dst.close()
})

test('other tensors are copied as they are, and stacked biases are the biases in order', async () => {
  const src = await writeModel()
  const dst = await quantize(src, recipes.w4a8kv4)
  for (const name of [
    'model.embed_tokens.weight',
    'model.norm.weight',
    'model.layers.0.input_layernorm.weight',
  ])
    assert.equal(dst.tensors.read(name), src.tensors.read(name))
  const parts = ['q', 'k', 'v'].map(
    (part) => src.tensors.read(`model.layers.0.self_attn.${part}_proj.bias`).bytes,
  )
  const bias = dst.tensors.read('model.layers.0.self_attn.qkv_proj.bias')
  assert.equal(bias.dtype, 'bf16')
  assert.equal(Buffer.compare(bias.bytes, Buffer.concat(parts)), 0)
  assert.not(dst.tensors.names.some((name) => /q_proj|gate_proj|_proj\.weight/.test(name)))
})

test('progress ends at the whole', async () => {
  const src = await writeModel()
  const seen: (readonly [number, number])[] = []
  await quantizeCheckpoint(join(root, 'progress'), src, recipes.w8a8kv8, {
    producer: 'p',
    onProgress: (done, total) => seen.push([done, total]),
  })
  assert.ok(seen.length > layers && seen.every(([done], i) => i === 0 || done >= seen[i - 1]![0]))
  assert.is(seen.at(-1)![0], seen.at(-1)![1])
})

async function refusal(action: () => Promise<unknown>): Promise<string> {
  try {
    await action()
  } catch (error) {
    assert.ok(error instanceof QuantizeError || error instanceof CheckpointError, String(error))
    return (error as Error).message
  }
  return 'accepted'
}

test('a damaged weight stops the work, and no weights file is left', async () => {
  const src = await writeModel((name, values) => {
    if (name === 'model.layers.1.mlp.down_proj.weight') values[300] = 0x7fc0
  })
  const dst = join(root, 'damaged')
  const message = await refusal(() => quantizeCheckpoint(dst, src, recipes.w4a8kv4, { producer: 'p' }))
  assert.match(message, 'tensor model.layers.1.mlp.down_proj.weight holds NaN in row 1, column 44')
  assert.not(existsSync(dst))
  // What was done before is kept; a run that is repeated says the same.
  assert.ok(readdirSync(`${dst}.quantizing`).includes('layer-0.safetensors'))
  assert.is(await refusal(() => quantizeCheckpoint(dst, src, recipes.w4a8kv4, { producer: 'p' })), message)
})

test('hidden states that are not finite stop the work at their layer', async () => {
  const recipe = checkRecipe({ name: 'floats', weights: 'f32', kv: 16, passes: [] }, 'it')
  const calibration = { ids: Int32Array.of(1, 2, 3, 4), window: 2 }
  const src = await writeModel((name, values) => {
    if (/layers\.0\.mlp\.(up|down)_proj/.test(name)) values.fill(bf16Bits(3e38))
  })
  assert.match(
    await refusal(() =>
      quantizeCheckpoint(join(root, 'infinite'), src, recipe, { producer: 'p', calibration }),
    ),
    'layer 0 gives what is no finite number for calibration token 0',
  )
})

test('the result never replaces the model, another result, or comes from a result', async () => {
  const src = await writeModel()
  const run = (dst: string, from = src) =>
    refusal(() => quantizeCheckpoint(dst, from, recipes.w4a8kv4, { producer: 'p' }))
  assert.match(await run(join(src.folder, '.')), 'is the model itself')
  const done = await quantize(src, recipes.w4a8kv4)
  assert.match(await run(done.folder), 'exists; remove it')
  assert.match(await run(join(root, 'again'), done), 'quantized already, as w4a8kv4')
  assert.not(existsSync(join(root, 'again')) || existsSync(join(root, 'again.quantizing')))
})

test('recipes are found by name', () => {
  assert.is(recipeNamed('w4a8kv4-g128'), recipes['w4a8kv4-g128'])
  assert.throws(
    () => recipeNamed('w2a2'),
    'there is no recipe w2a2; there are w4a8kv4, w4a8kv4-g128, w8a8kv8',
  )
  assert.throws(() => recipeNamed('constructor'), 'there is no recipe constructor')
})

test.run()
