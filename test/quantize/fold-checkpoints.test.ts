import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Checkpoint, openCheckpoint } from '../../checkpoint/open.ts'
import type { Calibration } from '../../quantize/calibration.ts'
import type { Compute, Values } from '../../quantize/compute/compute.ts'
import { HostCompute } from '../../quantize/compute/host.ts'
import { loadHead } from '../../quantize/ends.ts'
import { forwardLayer } from '../../quantize/forward.ts'
import { floatLayer, startHidden } from '../../quantize/hidden-states.ts'
import { freeLayer, loadLayer } from '../../quantize/load-layer.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { checkRecipe } from '../../quantize/recipe.ts'
import { relativeError } from '../support/quantized-layers.ts'
import { rng } from '../support/rng.ts'
import { sharedPath } from '../support/shared-models.ts'

const test = suite('folds of checkpoints')

const folds = checkRecipe(
  {
    name: 'folds',
    weights: 'f32',
    kv: 16,
    passes: [
      { pass: 'rotate', signs: true },
      { pass: 'rotate-heads' },
      { pass: 'reorder' },
      { pass: 'smooth', stacks: ['qkv', 'o', 'gateUp', 'down'], strength: 0.4 },
      { pass: 'smooth-attention', strength: 0.5 },
    ],
  },
  'this test',
)

async function logitsOf(compute: Compute, src: Checkpoint, calibration: Calibration): Promise<Values> {
  const hidden = await startHidden(compute, src, [], calibration, { seed: 0, measure: false })
  const { states } = hidden
  for (let index = 0; index < src.config.layers; index++) {
    const loaded = await loadLayer(compute, src, index)
    await forwardLayer(states, floatLayer(compute, src, index, loaded, hidden))
    freeLayer(loaded)
  }
  const { norm, weight } = await loadHead(compute, src)
  await compute.rmsNorm(states, states, norm, src.config.normEpsilon)
  const logits = compute.allocate(states.rows, weight.rows)
  await compute.multiply(logits, states, weight, { transposeB: true })
  return compute.read(logits)
}

for (const name of ['nano', 'small']) {
  const source = sharedPath(`models/${name}`)
  if (!source) {
    test.skip(`${name}: the model is not beside the repository`, () => {})
    continue
  }
  test(`${name}, transformed and written in floats, gives the logits of the original within 1e-4`, async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'quattuor-folds-'))
    try {
      const src = openCheckpoint(source)
      const compute = new HostCompute()
      const { integer } = rng(5)
      const ids = Int32Array.from({ length: 16 }, () => integer(8, src.config.vocabSize - 1))
      const calibration = { ids, window: 8 }
      await quantizeCheckpoint(join(scratch, name), src, folds, {
        producer: 'test',
        compute,
        calibration,
        seed: 3,
      })
      const folded = openCheckpoint(join(scratch, name))
      const before = await logitsOf(compute, src, calibration)
      const error = relativeError(await logitsOf(compute, folded, calibration), before)
      assert.ok(error < 1e-4, `logits differ by ${error}`)
      for (const checkpoint of [src, folded]) checkpoint.close()
    } finally {
      rmSync(scratch, { recursive: true })
    }
  })
}

test.run()
