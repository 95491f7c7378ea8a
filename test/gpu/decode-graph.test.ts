import { assertReplaysAreSteps } from '../support/decode-replay.ts'
import { anyGpu, testOnGpu } from '../support/gpu-cases.ts'

await testOnGpu('decode steps as graphs on a GPU', anyGpu, (_add, device, test) => {
  for (const [weights, kvBits] of [
    ['w4a8', 4],
    ['w4a8-g128', 8],
    ['bf16', 16],
  ] as const)
    test(`${weights}, ${kvBits} bits of cache: replays are the steps that the host would run, bit for bit`, () =>
      assertReplaysAreSteps(device, weights, kvBits))
})
