import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mixedSampling } from '../../bench/layer/stack.ts'
import { DecodeGraph } from '../../models/decode-graph.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { assertReplaysAreSteps, firstStep, loadForReplay } from '../support/decode-replay.ts'

const device = openEmulator()

for (const [weights, kvBits] of [
  ['w4a8', 4],
  ['bf16', 16],
] as const)
  test(`${weights}: replays of a graph are the steps that the host would run, bit for bit`, () =>
    assertReplaysAreSteps(device, weights, kvBits))

test('a step of another size than the graph is refused', async () => {
  const model = await loadForReplay(device, 'w4a8', 4)
  const sampling = await mixedSampling(model)
  const graph = await DecodeGraph.capture(model, 2, sampling)
  assert.throws(
    () => graph.start(firstStep()),
    /graph is of 2 rows and the step of 3 tokens and 3 rows of logits/,
  )
  graph.destroy()
  sampling.free()
  model.free()
})

test.after(() => device.close())
test.run()
