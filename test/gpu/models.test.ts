import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { recipes } from '../../quantize/recipe.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { describeDevices, openDevice } from '../../runtime/open-device.ts'
import { aloneAsTogether, compareDevices } from '../support/agreement.ts'
import {
  bf16LogitBound,
  checkGoldenArgmax,
  checkGoldenIds,
  largestLogitError,
} from '../support/golden-checks.ts'
import { readGolden, sharedPath } from '../support/shared-models.ts'

/** Trained models on a GPU: against their golden outputs, against themselves in a batch, and against the emulator. */
const { gpus } = await describeDevices()
const gpu = gpus.find((each) => each.target)
const test = suite('trained models on CUDA')
const device = gpu && (await openDevice(gpu.name))
const emulator = openEmulator({})
const scratch = mkdtempSync(join(tmpdir(), 'quattuor-models-'))
test.after(async () => {
  rmSync(scratch, { recursive: true, force: true })
  await emulator.close()
  await device?.close()
})

if (!device) {
  console.log('skipped: trained models on CUDA, because no GPU')
  test.skip('needs a GPU', () => {})
}

for (const name of ['nano', 'small'] as const) {
  const folder = device && sharedPath(`models/${name}`)
  if (!folder) continue
  const golden = readGolden(folder)
  const bound = bf16LogitBound[name]

  test(`${name} in bf16 reproduces the golden logits`, async () => {
    const error = await largestLogitError(device, folder, golden)
    console.log(`${name}: largest logit error ${error.toFixed(3)}, bound ${bound}`)
    assert.ok(error <= bound, `the largest error is ${error}`)
  })

  test(`${name} in bf16 reproduces the golden ids up to near-ties`, async () => {
    console.log(`${name}: ${await checkGoldenIds(device, folder, golden, bound)} ids equal`)
    assert.ok((await checkGoldenArgmax(device, folder, golden, bound)) > 450)
  })

  const prompts = [...golden.greedy, ...golden.chat_greedy, golden.logits[1]!].map((c) => c.input_ids)
  for (const recipe of ['w4a8kv4', 'w4a8kv4-g128'] as const) {
    test(`${name} in ${recipe} generates the same ids alone, in a batch of 8 and on the emulator`, async () => {
      const quantized = join(scratch, `${name}-${recipe}`)
      const source = openCheckpoint(folder)
      await quantizeCheckpoint(quantized, source, recipes[recipe], { producer: 'quattuor test' })
      source.close()
      const outputs = [
        await aloneAsTogether(device, quantized, prompts, 64),
        await aloneAsTogether(emulator, quantized, prompts, 64),
      ] as const
      const { largestDifference, compared, total } = await compareDevices(
        [device, emulator],
        quantized,
        prompts,
        outputs,
      )
      console.log(
        `${name} ${recipe}: ${compared} of ${total} ids before the first difference, ` +
          `logits differ by ${largestDifference.toExponential(2)} at most`,
      )
    })
  }
}

test.run()
