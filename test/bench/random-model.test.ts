import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { needGpuFor, writeRandomModel } from '../../bench/random-model.ts'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { randomCheckpoint } from '../../models/random-weights.ts'
import { namedConfig } from '../../models/shapes.ts'
import { formatOf, recipeNamed } from '../../quantize/recipe.ts'
import { loadTokenizer } from '../../serve/text/tokenizer.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-random-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))

/** A named model, made small. */
const small = (name: 'llama-3-8b' | 'qwen2.5-7b') => ({
  ...namedConfig(name),
  ...{ hiddenSize: 128, layers: 2, heads: 2, kvHeads: 1, headDim: 64, intermediateSize: 256, vocabSize: 700 },
  ...{ rope: { theta: 1e4, columns: 64, scaling: undefined }, windows: [undefined, undefined] },
})

for (const [name, format] of [
  ['llama-3-8b', 'w4a8kv4'],
  ['qwen2.5-7b', 'w4a8kv4-g128'],
  ['llama-3-8b', 'bf16'],
] as const)
  test(`${name} in ${format}: what is written is read as the weights that are nowhere on disk`, async () => {
    const made = randomCheckpoint(small(name), formatOf(recipeNamed(format)))
    const folder = join(root, `${name}-${format}`)
    await writeRandomModel(folder, made)
    const read = openCheckpoint(folder)
    assert.equal({ ...read.config, bosId: undefined }, made.config)
    assert.equal(read.format, made.format)
    assert.equal([...read.tensors.names].sort(), [...made.tensors.names].sort())
    for (const tensor of made.tensors.names) {
      const [stored, expected] = [read.tensors.read(tensor), made.tensors.read(tensor)]
      assert.is(Buffer.compare(stored.bytes, expected.bytes), 0, tensor)
    }
    read.close()
    const tokenizer = loadTokenizer(folder)
    assert.is(tokenizer.vocabSize, 700)
    const texts = Array.from({ length: 700 }, (_, id) => tokenizer.decode([id]))
    assert.is(new Set(texts.slice(256)).size, 444, 'every token is a word of its own')
    assert.ok(texts.slice(256).every((text) => /^ w[0-9a-z]+$/.test(text)))
  })

test('a named model is refused where the emulator would run it, with what to do instead', async () => {
  await needGpuFor('llama-3-8b', 'cuda:1')
  const refused = await needGpuFor('llama-3-8b', 'emulator').catch((error: Error) => error)
  assert.is((refused as Error).name, 'UsageError')
  assert.match((refused as Error).message, /which emulator is not; .*give the folder of a small model/)
})

test.run()
