import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import type { Model } from '../../models/model.ts'
import { kindOf, type StepInput, stepOf } from '../../models/step.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { recipeNamed } from '../../quantize/recipe.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { loadForTest } from '../support/generate.ts'
import { writeRandomLlama } from '../support/random-llama.ts'
import { rng } from '../support/rng.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-rows-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const device = openEmulator()
test.after(() => device.close())

const plain = await writeRandomLlama(join(root, 'bf16'), { seed: 5, dtype: 'bf16' })
const quantized = join(root, 'w4a8kv4')
const src = openCheckpoint(plain)
await quantizeCheckpoint(quantized, src, recipeNamed('w4a8kv4'), { producer: 'quattuor test' })
src.close()

/** The bits of the logits of a step, row by row. */
async function logitsOf(model: Model, step: StepInput): Promise<number[][]> {
  await model.step(step)
  const bits = [...(await model.logits.slice(0, step.logitRows.length).read())]
  const { vocabSize } = model.config
  return [...step.logitRows].map((_, i) => bits.slice(i * vocabSize, (i + 1) * vocabSize))
}

for (const folder of [plain, quantized])
  test(`${folder === plain ? 'bf16' : 'w4a8kv4'}: logits of some tokens are those of all, though the last layer leaves the others out`, async () => {
    const model = await loadForTest(device, folder, { sequences: 3, context: 128, tokens: 64 })
    const random = rng(11)
    const ids = (count: number) => Array.from({ length: count }, () => random.integer(2, 299))
    const parts = [
      { ids: ids(9), position: 0, isPrompt: true, pages: [3], logits: 9 },
      { ids: ids(20), position: 0, isPrompt: true, pages: [1], logits: 20 },
      { ids: ids(1), position: 0, isPrompt: false, pages: [4], logits: 1 },
    ]
    const all = await logitsOf(model, stepOf(parts, 2))
    for (const wanted of [
      [1, 1, 1],
      [0, 3, 0],
      [2, 0, 1],
    ]) {
      const step = stepOf(
        parts.map((part, i) => ({ ...part, logits: wanted[i]! })),
        2,
      )
      assert.equal(
        await logitsOf(model, step),
        [...step.logitRows].map((row) => all[row]!),
        `${wanted} rows`,
      )
    }
    model.free()
  })

test('where no logits are wanted, the last layer ends with the cache', async () => {
  const model = await loadForTest(device, quantized, { sequences: 1, context: 128, tokens: 64 })
  const step = (logits: number) =>
    stepOf(
      [{ ids: [5, 6, 7, 8], position: 0, isPrompt: true, pages: [0, 1], logits }],
      model.limits.pagesPerSequence,
    )
  const names = async (rows: number) =>
    (await model.launches(4, rows, kindOf(step(rows)))).map(({ name }) => name)
  assert.is((await names(0)).at(-1), 'append')
  assert.is((await names(1)).at(-1), 'lm_head')
  assert.ok((await names(4)).length > (await names(0)).length + 8)
  model.free()
})

test.run()
