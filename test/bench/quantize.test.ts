import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { measureOperations } from '../../bench/quantize/operations.ts'
import { writeRandomModel } from '../../bench/quantize/random-model.ts'
import { runModel } from '../../bench/quantize/run-model.ts'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { widen } from '../../checkpoint/tensor.ts'
import { namedConfig } from '../../models/shapes.ts'
import { recipeNamed } from '../../quantize/recipe.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'

const config = {
  ...namedConfig('llama-3-8b'),
  ...{ hiddenSize: 512, intermediateSize: 640, heads: 4, kvHeads: 2, headDim: 128, layers: 1, vocabSize: 40 },
  windows: [undefined],
  rope: { theta: 1e4, columns: 128, scaling: undefined },
}

const folder = mkdtempSync(join(tmpdir(), 'quattuor-bench-quantize-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

test('the random model has outlier channels', async () => {
  await writeRandomModel(join(folder, 'model'), config)
  const checkpoint = openCheckpoint(join(folder, 'model'))
  const gains = widen(checkpoint.tensors.read('model.layers.0.input_layernorm.weight'))
  checkpoint.close()
  const large = gains.reduce((count, gain) => count + (gain > 5 ? 1 : 0), 0)
  assert.is(large, 2)
})

test('a run says what it took', async () => {
  const recipe = recipeNamed('w8a8kv8')
  const lines: string[] = []
  const say = (line: string) => lines.push(line)
  const device = openEmulator()
  const run = await runModel(device, { config, recipe, folder, windows: 2, window: 4, say })
  await device.close()
  assert.ok(run.seconds > 0 && run.secondsPerLayer > 0 && run.secondsPerLayer < run.seconds)
  assert.ok(run.devicePeakBytes > 0 && run.hostPeakBytes > 0 && run.resultBytes > 0)
  assert.ok(lines.at(-1)!.endsWith('done'))
})

test('operations are timed at the shapes of a layer', async () => {
  const rows: string[] = []
  const shape = { hidden: 128, intermediate: 128, heads: 2, kvHeads: 1, headDim: 64, tokens: 8, window: 4 }
  const device = openEmulator()
  await measureOperations(device, shape, ({ operation, milliseconds }) => {
    assert.ok(milliseconds > 0)
    rows.push(operation)
  })
  await device.close()
  for (const name of ['x·Wᵀ', 'gram', 'attention', 'cholesky', 'gptq w4a8-g128', 'searchClip w4a8'])
    assert.ok(rows.includes(name), name)
})

test.run()
