import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { Model } from '../../models/model.ts'
import { QuantizeError } from '../../quantize/error.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { headFormats, type Recipe, recipes } from '../../quantize/recipe.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { loadForTest, logitsOf } from '../support/generate.ts'
import { writeRandomLlama } from '../support/random-llama.ts'
import { rng } from '../support/rng.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-output-head-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const device = openEmulator()
const producer = 'quattuor test'

async function quantized(src: string, name: string, recipe: Recipe): Promise<string> {
  const checkpoint = openCheckpoint(src)
  await quantizeCheckpoint(join(root, name), checkpoint, recipe, { producer })
  checkpoint.close()
  return join(root, name)
}

/** The steps of 8 bits leave a hundredth of a row's logits at most, those of 4 bits sixteen times as much. */
const errors = { w8a8: 0.02, w4a8: 0.2, 'w4a8-g128': 0.2 }

for (const tied of [false, true]) {
  test(`a ${tied ? 'tied' : 'separate'} head gives nearly the same logits in every format that it may have`, async () => {
    const config = { tie_word_embeddings: tied }
    const plain = await writeRandomLlama(join(root, `plain-${tied}`), { seed: 3, dtype: 'f16', config })
    const random = rng(9)
    const ids = Array.from({ length: 9 }, () => random.integer(0, 299))
    const logits = async (head?: (typeof headFormats)[number]) => {
      const recipe = { ...recipes.w8a8kv8, ...(head && { head }) }
      const folder = await quantized(plain, `${tied}-${head ?? 'none'}`, recipe)
      const checkpoint = openCheckpoint(folder)
      assert.is(checkpoint.format.head?.format, head)
      assert.is(checkpoint.tensors.names.includes('lm_head.weight'), head === undefined && !tied)
      checkpoint.close()
      const model = await loadForTest(device, folder, { sequences: 1, context: 64, tokens: 16 })
      const rows = await logitsOf(model, ids)
      model.free()
      return rows
    }
    const expected = await logits()
    for (const head of headFormats) {
      let [difference, magnitude] = [0, 0]
      for (const [t, row] of (await logits(head)).entries())
        for (const [i, value] of row.entries()) {
          difference += (value - expected[t]![i]!) ** 2
          magnitude += expected[t]![i]! ** 2
        }
      const error = Math.sqrt(difference / magnitude)
      assert.ok(error > 0 && error < errors[head], `${head}: ${error}`)
    }
  })
}

test('a head that no kernel reads, or beside a model that stays as it is, is refused', async () => {
  const plain = await writeRandomLlama(join(root, 'odd'), { seed: 4, dtype: 'f16' })
  const bf16: Recipe = { ...recipes.bf16, head: 'w8a8' }
  const refusal = await quantized(plain, 'refused', bf16).catch((error) => error)
  assert.instance(refusal, QuantizeError)
  assert.match(refusal.message, 'keeps its head')

  const checkpoint = openCheckpoint(plain)
  const format = { ...checkpoint.format, head: { format: 'w2a8', layout: 'units' } }
  const limits = { tokens: 16, sequences: 1, pagesPerSequence: 1, logitRows: 1 }
  const odd = { ...checkpoint, config: checkpoint.config, tensors: checkpoint.tensors, format, folder: 'ODD' }
  const failure = await Model.load(device, odd as never, { limits, pages: 1 }).catch((error) => error)
  assert.match(failure.message, /ODD has an output head in the format w2a8/)
})

test.run()
