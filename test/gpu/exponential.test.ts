import * as assert from 'uvu/assert'
import { exp2OfStepsReference } from '../../dsl/exp2-steps.ts'
import { listExponentials } from '../support/exponentials.ts'
import { anyGpu, testOnGpu } from '../support/gpu-cases.ts'

/** What the emulator and references take from a table, which attention relies on. */
await testOnGpu('exponentials on CUDA', anyGpu, (_, device, test) => {
  test('ex2.approx of multiples of 2^-12 is what the table has', async () => {
    const listed = await listExponentials(device)
    const wrong = listed.findIndex((value, i) => value !== exp2OfStepsReference(-i / 4096))
    assert.is(wrong, -1, `2^(-${wrong} / 4096) is ${listed[wrong]} here`)
  })
})
