import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { arrangedRequests, arrangements, runArranged } from '../../support/arrangements.ts'

const device = openEmulator()
test.after(() => device.close())

/** A GPU runs all of them, with 64 requests. */
const names = [
  'prompts cut into short pieces',
  'prompts found in the cache',
  'one with each token of another',
]

test('requests get the same tokens however they come, and however their prompts are computed', async () => {
  const requests = arrangedRequests(6, 6, 90)
  const { outcomes: expected } = await runArranged(device, requests, arrangements['all at once']!)
  for (const name of names) {
    const { outcomes, stats } = await runArranged(device, requests, arrangements[name]!)
    assert.equal(outcomes, expected, name)
    assert.is(stats.heldPages, 0)
  }
})

test.run()
