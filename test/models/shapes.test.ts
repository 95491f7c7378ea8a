import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { layerProducts, namedShapes } from '../../models/shapes.ts'

/** N×K of qkv, o, gate_up and down, worked out by hand from each model's config.json. */
const products = {
  'llama-3-8b': '6144x4096 4096x4096 28672x4096 4096x14336',
  'llama-2-7b': '12288x4096 4096x4096 22016x4096 4096x11008',
  'llama-2-13b': '15360x5120 5120x5120 27648x5120 5120x13824',
  'mistral-7b': '6144x4096 4096x4096 28672x4096 4096x14336',
  'qwen2.5-7b': '4608x3584 3584x3584 37888x3584 3584x18944',
  'qwen2.5-32b': '7168x5120 5120x5120 55296x5120 5120x27648',
  'yi-34b': '9216x7168 7168x7168 40960x7168 7168x20480',
  'llama-3-70b': '10240x8192 8192x8192 57344x8192 8192x28672',
}

test('each named model has the four products of its layers', () => {
  assert.equal(Object.keys(namedShapes).sort(), Object.keys(products).sort())
  for (const [name, expected] of Object.entries(products)) {
    const list = layerProducts(namedShapes[name as keyof typeof products])
    assert.equal(
      list.map((product) => product.name),
      ['qkv', 'o', 'gate_up', 'down'],
    )
    assert.is(list.map(({ N, K }) => `${N}x${K}`).join(' '), expected, name)
  }
})

test('heads of the named models fill their hidden dimension', () => {
  for (const [name, { hidden, heads, headDim }] of Object.entries(namedShapes))
    assert.is(heads * headDim, hidden, name)
})

test.run()
