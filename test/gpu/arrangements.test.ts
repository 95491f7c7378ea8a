import * as assert from 'uvu/assert'
import type { Completion } from '../../serve/engine/local-engine.ts'
import { arrangedRequests, arrangements, runArranged } from '../support/arrangements.ts'
import { anyGpu, testOnGpu } from '../support/gpu-cases.ts'

await testOnGpu('64 requests in ten arrangements on a GPU', anyGpu, (_add, device, test) => {
  const requests = arrangedRequests(64, 90)
  let first: readonly Completion[] | undefined
  for (const [name, arrangement] of Object.entries(arrangements))
    test(`requests get the same tokens: ${name}`, async () => {
      const { outcomes, stats } = await runArranged(device, requests, arrangement)
      first ??= outcomes
      for (const [i, outcome] of outcomes.entries()) assert.equal(outcome, first[i], `request ${i}`)
      assert.is(stats.heldPages, 0)
      if (arrangement.pages < 64 && arrangement.sequences > 1)
        assert.ok(stats.preemptions > 0, 'nothing had to wait again')
      if (arrangement.twice) assert.ok(stats.prefixHits > 64 * 32, 'prompts were not found')
    })
})
