import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../../checkpoint/open.ts'
import { Model } from '../../../models/model.ts'
import { HostCompute } from '../../../quantize/compute/host.ts'
import { quantizeCheckpoint } from '../../../quantize/quantize-checkpoint.ts'
import { checkRecipe } from '../../../quantize/recipe.ts'
import { referenceLogits } from '../../../quantize/reference.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { perplexity } from '../../../serve/perplexity.ts'
import { writeRandomLlama } from '../../support/random-llama.ts'
import { rng } from '../../support/rng.ts'

const test = suite('kv-clip')

test('the checkpoint says it, and kernels and the quantizer compute the same with it', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'quattuor-kv-clip-'))
  const device = await openEmulator()
  try {
    const source = await writeRandomLlama(join(scratch, 'source'), { seed: 8, dtype: 'f16' })
    const src = openCheckpoint(source)
    const ids = Array.from({ length: 17 }, (_, i) => rng(i + 1).integer(0, src.config.vocabSize - 1))
    const losses: number[] = []
    for (const part of [undefined, 0.5]) {
      const passes = [{ pass: 'rtn' }, ...(part === undefined ? [] : [{ pass: 'kv-clip', part }])]
      const recipe = checkRecipe({ name: 'clipped', weights: 'w4a8', kv: 4, passes }, 'this test')
      const folder = join(scratch, `${part}`)
      await quantizeCheckpoint(folder, src, recipe, { producer: 'test' })
      const checkpoint = openCheckpoint(folder)
      assert.is(checkpoint.format.kv.clip, part)
      const limits = { tokens: 16, sequences: 1, pagesPerSequence: 1, logitRows: 16 }
      const model = await Model.load(device, checkpoint, { limits, pages: 1, logits: 'f32' })
      const { perplexity: actual } = await perplexity(model, ids, 16)
      const compute = new HostCompute()
      const logits = await referenceLogits(compute, checkpoint, Int32Array.from(ids.slice(0, 16)), 16)
      const entropies = await compute.crossEntropy(logits, Int32Array.from(ids.slice(1)))
      const expected = entropies.reduce((sum: number, nats) => sum + nats, 0) / 16
      // Activations between kernels are f16, and codes of neighbours of a boundary differ; the clip moves the loss by more.
      assert.ok(Math.abs(Math.log(actual) - expected) < 2e-2, `${Math.log(actual)} ${expected}`)
      losses.push(expected)
      model.free()
      checkpoint.close()
    }
    assert.ok(Math.abs(losses[0]! - losses[1]!) > 6e-2, `${losses}`)
  } finally {
    await device.close()
    rmSync(scratch, { recursive: true })
  }
})

test.run()
