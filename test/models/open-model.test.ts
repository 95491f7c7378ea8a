import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Checkpoint, openCheckpoint } from '../../checkpoint/open.ts'
import type { QuantizedMatrix } from '../../checkpoint/quantized-matrix.ts'
import { f16Bits, f16Value } from '../../dsl/half.ts'
import { type WeightFormat, type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import { openModel } from '../../models/open-model.ts'
import { layerProjections, type Projection } from '../../models/projections.ts'
import { assertRefuses, temporaryFolder } from '../checkpoint/support.ts'
import {
  type ForeignScheme,
  foreignProjections,
  foreignSchemes,
  writeForeign,
} from '../support/foreign-checkpoints.ts'

const root = temporaryFolder()

/** The format that each scheme is read as; `f16` where no kernel takes its codes. */
const formats: Readonly<Record<ForeignScheme, string>> = {
  awq: 'w4a16kv16-g64',
  'gptq-v1': 'w4a16kv16-g128',
  'gptq-v2': 'w4a16kv16-g64',
  'gptq-act-order': 'f16',
  'gptq-rows': 'w4a16kv16-g128',
  'compressed-w4a16': 'w4a16kv16-g128',
  'compressed-w4a16-asymmetric': 'w4a16kv16-g128',
  'compressed-w8a8': 'w8a8kv8',
  'compressed-fp8': 'f16',
  qserve: 'w4a8kv4',
  'qserve-g128': 'w4a8kv4-g128',
  'qserve-g128-later': 'w4a8kv4-g128',
  'qserve-w8a8': 'w8a8kv8',
  'qserve-real-zeros': 'f16',
  lmquant: 'w4a8kv4',
  'lmquant-scaled': 'w4a8kv4',
  'lmquant-g128': 'w4a8kv4-g128',
  'lmquant-g128-signed': 'w4a8kv4-g128',
}

for (const scheme of foreignSchemes)
  test(`${scheme}: every weight is what its formulas say, as floats and in the order of the kernels`, async () => {
    const folder = join(root, scheme)
    const truth = await writeForeign(folder, scheme, 3)
    const raw = openCheckpoint(folder)
    const isCoded = raw.foreign!.format !== undefined
    for (const [path, n, k] of foreignProjections()) {
      const floats = raw.foreign!.floats(path, n, k)
      // Programs that store products of floats round them to f16.
      const stored = scheme.startsWith('lmquant')
        ? truth.get(path)!.map((x) => roundHalf(x))
        : truth.get(path)!
      assert.equal(firstDifference(floats, stored), undefined, path)
    }
    raw.close()

    const model = openModel(folder)
    assert.is(model.format.name, formats[scheme])
    assert.is(model.tensors.has('model.embed_tokens.weight'), true)
    assert.is(
      model.tensors.names.some((name) => /qweight|qzeros|s1_scales|weight_packed/.test(name)),
      false,
    )
    for (const projection of Object.values(layerProjections(model.config)) as Projection[]) {
      const { path, parts, n, k } = projection
      const prefix = 'model.layers.1.'
      const expected = parts.flatMap((part) => [...truth.get(prefix + part.path)!])
      const found = isCoded
        ? unpacked(model, prefix + path, n, k)
        : parts.flatMap((part) => [
            ...new Float32Array(
              new Uint8Array(model.tensors.read(`${prefix}${part.path}.weight`).bytes).buffer,
            ),
          ])
      assert.equal(firstDifference(found, expected), undefined, path)
    }
    model.close()
  })

/** The weights that the packed tensors of a product stand for. */
function unpacked({ tensors, format }: Checkpoint, path: string, n: number, k: number): Float32Array {
  const { bits, group } = format.weights
  const name = `w${bits}a${format.activations.bits}${group > 0 ? `-g${group}` : ''}` as WeightFormatName
  const words = new Uint32Array(new Uint8Array(tensors.read(`${path}.codes`).bytes).buffer)
  const parts = (weightFormats[name] as WeightFormat).unpack(words, n, k) as QuantizedMatrix
  const scale = format.activations.bits === 8 ? halfs(tensors.read(`${path}.scale`).bytes) : parts.scale
  const zero = name === 'w4a8' ? tensors.read(`${path}.zero`).bytes : parts.zero
  const size = group || k
  return Float32Array.from({ length: n * k }, (_, i) => {
    const [row, at] = [Math.floor(i / k), Math.floor(i / size)]
    const code = parts.codes[i]!
    if (bits === 8) return f16Value(scale[row]!) * code
    if (name.startsWith('w4a16')) return roundHalf(f16Value(scale[at]!) * (code - zero![at]!))
    if (group === 0) return f16Value(scale[row]!) * (code - zero![row]!)
    return f16Value(scale[row]!) * (code * parts.groupScale![at]! + parts.groupMin![at]!)
  })
}

const roundHalf = (x: number): number => f16Value(f16Bits(x))
const halfs = (bytes: Uint8Array): Uint16Array => new Uint16Array(new Uint8Array(bytes).buffer)

function firstDifference(found: ArrayLike<number>, expected: ArrayLike<number>): object | undefined {
  if (found.length !== expected.length) return { found: found.length, expected: expected.length }
  for (let i = 0; i < found.length; i++)
    if (found[i] !== expected[i]) return { i, found: found[i], expected: expected[i] }
  return undefined
}

function changeConfig(folder: string, change: (config: Record<string, unknown>) => void): void {
  const path = join(folder, 'config.json')
  const config = JSON.parse(readFileSync(path, 'utf8'))
  change(config)
  writeFileSync(path, JSON.stringify(config))
}

test('settings that do not fit the weights, and schemes that are not read, are refused', async () => {
  const folder = join(root, 'refused')
  await writeForeign(folder, 'gptq-v1')
  changeConfig(folder, (config) => {
    config.quantization_config = { quant_method: 'gptq', bits: 3, group_size: 128 }
  })
  assertRefuses(() => openModel(folder), folder, 'GPTQ', '3 bits')
  changeConfig(folder, (config) => {
    delete config.quantization_config
  })
  assertRefuses(() => openModel(folder), folder, 'quantization_config')
  // As older programs wrote them.
  writeFileSync(join(folder, 'quantize_config.json'), JSON.stringify({ bits: 4, group_size: 128 }))
  openModel(folder).close()
  writeFileSync(join(folder, 'quantize_config.json'), JSON.stringify({ bits: 4, group_size: 64 }))
  assertRefuses(() => openModel(folder), 'scales has 2 groups', 'groups of 64')

  const compressed = join(root, 'compressed')
  await writeForeign(compressed, 'compressed-w4a16')
  changeConfig(compressed, (config) => {
    config.quantization_config = { quant_method: 'compressed-tensors', config_groups: {} }
  })
  assertRefuses(() => openModel(compressed), '0 schemes')
  changeConfig(compressed, (config) => {
    config.quantization_config = { quant_method: 'aqlm' }
  })
  assertRefuses(() => openModel(compressed), '"aqlm"', 'AWQ, GPTQ')
})

test('scales of other weights are noticed', async () => {
  const folder = join(root, 'mixed')
  await writeForeign(folder, 'lmquant-g128', 5)
  const scales = readFileSync(join(folder, 'scale.pt'))
  await writeForeign(folder, 'lmquant-g128', 6)
  writeFileSync(join(folder, 'scale.pt'), scales)
  const model = openModel(folder)
  assertRefuses(() => model.tensors.read('model.layers.0.self_attn.qkv_proj.codes'), 'do not belong together')
  model.close()
})

test.run()
