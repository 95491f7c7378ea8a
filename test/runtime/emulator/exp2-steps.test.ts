import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { exp2OfStepsReference } from '../../../dsl/exp2-steps.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { listExponentials } from '../../support/exponentials.ts'

test('the emulator has the exponentials of steps of 2^-12 that are on record, and 0 below 2^-126', async () => {
  const device = openEmulator({ checks: false })
  const listed = await listExponentials(device)
  for (let i = 0; i < listed.length; i++) {
    const expected = exp2OfStepsReference(-i / 4096)
    if (listed[i] !== expected) assert.is(listed[i], expected, `2^(-${i} / 4096)`)
  }
  await device.close()
})

test('those on record are monotone and near', () => {
  for (let i = 1; i < 4096; i++) {
    const [value, before] = [exp2OfStepsReference(-i / 4096), exp2OfStepsReference((1 - i) / 4096)]
    assert.ok(value < before, `${i}`)
    assert.ok(Math.abs(value / 2 ** (-i / 4096) - 1) < 2 ** -21, `${i}`)
  }
})

test.run()
