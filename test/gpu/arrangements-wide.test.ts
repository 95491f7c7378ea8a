import * as assert from 'uvu/assert'
import { randomCheckpoint } from '../../models/random-weights.ts'
import { type ModelName, namedConfig } from '../../models/shapes.ts'
import { formatOf, recipeNamed } from '../../quantize/recipe.ts'
import type { Completion } from '../../serve/engine/local-engine.ts'
import { type Arrangement, arrangedRequests, runArranged } from '../support/arrangements.ts'
import { hopperGpu, testOnGpu } from '../support/gpu-cases.ts'

/** Models with tiles on record that CTAs share along K, or cut in halves, in steps of 512 and of 1024 tokens. */
const models: readonly (readonly [ModelName, string])[] = [
  ['llama-2-13b', 'w4a8kv4-g128'],
  ['llama-3-70b', 'w4a8kv4'],
]

/** Steps of other sizes take other tiles. */
const arrangements: Readonly<Record<string, Arrangement>> = {
  'steps of 1024 tokens': { tokens: 1024, sequences: 24, pages: 600 },
  'steps of 512 tokens, in another order': { tokens: 512, sequences: 24, pages: 600, stride: 7 },
  'short steps': { tokens: 160, sequences: 16, pages: 600, stride: 11, perToken: 1 },
  'one by one': { tokens: 1024, sequences: 1, pages: 64 },
}

await testOnGpu(
  'requests to layers of wide models in several arrangements',
  hopperGpu,
  (_add, device, test) => {
    for (const [name, format] of models) {
      const whole = namedConfig(name)
      const config = { ...whole, layers: 2, vocabSize: 4096, windows: whole.windows.slice(0, 2) }
      const model = {
        open: () => randomCheckpoint(config, formatOf(recipeNamed(format))),
        pagesPerSequence: 32,
      }
      const requests = arrangedRequests(24, 12, 900)
      let first: readonly Completion[] | undefined
      for (const [arrangement, options] of Object.entries(arrangements))
        test(`${name}, ${format}: ${arrangement}`, async () => {
          const { outcomes } = await runArranged(device, requests, options, model)
          first ??= outcomes
          for (const [i, outcome] of outcomes.entries()) assert.equal(outcome, first[i], `request ${i}`)
        })
    }
  },
)
