import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { loadTokenizer } from '../../serve/text/tokenizer.ts'
import { aloneAsTogether } from '../support/agreement.ts'
import {
  bf16LogitBound,
  checkGoldenArgmax,
  checkGoldenIds,
  largestLogitError,
} from '../support/golden-checks.ts'
import { readGolden, sharedPath } from '../support/shared-models.ts'

const test = suite('trained models on the emulator')
const device = openEmulator({})
test.after(() => device.close())

const nano = sharedPath('models/nano')
if (nano) {
  const golden = readGolden(nano)

  test('nano in bf16 reproduces the golden logits', async () => {
    const error = await largestLogitError(device, nano, golden)
    console.log(`largest logit error ${error.toFixed(3)}, bound ${bf16LogitBound.nano}`)
    assert.ok(error <= bf16LogitBound.nano, `the largest error is ${error}`)
  })

  test('nano in bf16 reproduces the golden ids up to near-ties, chat prompts included', async () => {
    console.log(`${await checkGoldenIds(device, nano, golden, bf16LogitBound.nano)} of 640 ids equal`)
  })

  test('nano in bf16 has the golden best id wherever its margin exceeds the error', async () => {
    const positions = await checkGoldenArgmax(device, nano, golden, bf16LogitBound.nano)
    assert.ok(positions > 450, `only ${positions} positions were compared`)
  })
}

test('the demo model generates the same ids alone and in a batch', async () => {
  const root = join(dirname(fileURLToPath(import.meta.url)), '../..')
  const folder = join(root, 'examples/models/nano-w4a8kv4')
  const tokenizer = loadTokenizer(folder)
  const prompts = [
    'Once upon a time there was a',
    'The fox',
    '"Who are you?" said the king. "I am',
    'In the forest',
  ].map((text) => tokenizer.encode(text))
  const outputs = await aloneAsTogether(device, folder, prompts, 24)
  for (const ids of outputs) assert.ok(new Set(ids).size > 5, 'the text does not repeat one token')
})

test.run()
