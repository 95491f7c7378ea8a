import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../../checkpoint/open.ts'
import { Model } from '../../../models/model.ts'
import { quantizeCheckpoint } from '../../../quantize/quantize-checkpoint.ts'
import { recipeNamed } from '../../../quantize/recipe.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { type Completion, complete, startOnModel } from '../../../serve/engine/local-engine.ts'
import type { EngineRequest } from '../../../serve/engine/request.ts'
import { greedy } from '../../../serve/sampling.ts'
import { RefusalError } from '../../../serve/schedule/request.ts'
import { writeRandomLlama } from '../../support/random-llama.ts'
import { rng } from '../../support/rng.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-generate-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const device = openEmulator()

const plain = await writeRandomLlama(join(root, 'bf16'), { seed: 40, dtype: 'bf16' })
const quantized = join(root, 'w4a8kv4-g128')
const src = openCheckpoint(plain)
await quantizeCheckpoint(quantized, src, recipeNamed('w4a8kv4-g128'), { producer: 'quattuor test' })
src.close()

interface Room {
  /** Tokens of a step. */
  readonly tokens: number
  readonly sequences?: number
  readonly pages?: number
}

async function loadModel(folder: string, { tokens, sequences = 8, pages = 24 }: Room): Promise<Model> {
  const checkpoint = openCheckpoint(folder)
  try {
    const limits = { tokens, sequences, pagesPerSequence: 3, logitRows: sequences }
    return await Model.load(device, checkpoint, { limits, pages })
  } finally {
    checkpoint.close()
  }
}

/** Runs requests; when `staggered`, each comes with a token of the one before. */
async function generate(
  model: Model,
  requests: readonly EngineRequest[],
  staggered = false,
): Promise<Completion[]> {
  const engine = await startOnModel(model)
  const completions: Promise<Completion>[] = []
  const arrive = (): void => {
    const request = requests[completions.length]
    if (!request) return
    const place = completions.length
    completions.push(
      complete(engine, request, () => {
        if (staggered && completions.length === place + 1) arrive()
      }),
    )
  }
  if (staggered) arrive()
  else while (completions.length < requests.length) arrive()
  for (let i = 0; i < requests.length; i++) await completions[i]
  const outcomes = await Promise.all(completions)
  assert.is(engine.stats.heldPages, 0)
  await engine.close()
  return outcomes
}

const random = rng(77)
const prompt = (length: number) => Array.from({ length }, () => random.integer(2, 299))

/** Prompts from one token to more than a page, half of them greedy and half drawn. */
const requests: readonly EngineRequest[] = [1, 5, 63, 64, 65, 20, 100, 33].map((length, i) => ({
  prompt: prompt(length),
  maxTokens: 12,
  sampling:
    i % 2 === 0
      ? greedy
      : {
          ...greedy,
          temperature: 0.9,
          topK: i > 4 ? 20 : 0,
          topP: 0.95,
          minP: 0.02,
          repetitionPenalty: i === 3 ? 1.2 : 1,
          seed: 100 + i,
        },
  stopIds: [],
}))

for (const folder of [plain, quantized]) {
  const name = folder === plain ? 'bf16' : 'w4a8kv4-g128'
  test(`${name}: ids do not depend on the batch, its order, its arrival or how prompts are cut`, async () => {
    const model = await loadModel(folder, { tokens: 128 })
    const together = await generate(model, requests)
    assert.ok(together.every(({ ids, finished }) => ids.length === 12 && finished === 'length'))
    assert.ok(new Set(together.flatMap(({ ids }) => ids)).size > 40, 'the ids vary')
    for (const [i, request] of requests.entries())
      assert.equal(await generate(model, [request]), [together[i]], `request ${i} alone`)
    const backwards = await generate(model, [...requests].reverse())
    assert.equal(backwards.reverse(), together, 'backwards')
    assert.equal(await generate(model, requests, true), together, 'one arrival a step')
    model.free()
    for (const room of [{ tokens: 8 }, { tokens: 19, sequences: 3 }, { tokens: 300, pages: 5 }]) {
      const other = await loadModel(folder, room)
      assert.equal(await generate(other, requests), together, JSON.stringify(room))
      other.free()
    }
  })
}

test('another seed draws other ids, and the same seed the same', async () => {
  const model = await loadModel(quantized, { tokens: 128 })
  const draw = (seed: number) =>
    generate(model, [
      {
        prompt: requests[1]!.prompt,
        maxTokens: 16,
        sampling: { ...greedy, temperature: 1, seed },
        stopIds: [],
      },
    ])
  const [first, again, other] = [await draw(1), await draw(1), await draw(2)]
  assert.equal(first, again)
  assert.is.not(first[0]!.ids.join(), other[0]!.ids.join())
  model.free()
})

test('a stop id ends a request where it appears, and what came before is unchanged', async () => {
  const model = await loadModel(quantized, { tokens: 128 })
  const [whole] = await generate(model, [requests[0]!])
  const stop = whole!.ids[5]!
  const [stopped] = await generate(model, [{ ...requests[0]!, stopIds: [stop] }])
  assert.equal(stopped, { ids: whole!.ids.slice(0, whole!.ids.indexOf(stop)), finished: 'stop' })
  model.free()
})

test('a request that can never run is refused with what to do, and nothing of it is run', async () => {
  const model = await loadModel(quantized, { tokens: 128, pages: 2 })
  const engine = await startOnModel(model)
  const refused = (change: Partial<EngineRequest>, why: RegExp) =>
    assert.throws(
      () => complete(engine, { ...requests[0]!, ...change }),
      (error: unknown) => error instanceof RefusalError && why.test(error.message),
    )
  refused({ prompt: [] }, /no tokens/)
  refused({ prompt: [5, 300] }, /token id 300/)
  refused({ prompt: [1.5] }, /token id 1.5/)
  refused({ maxTokens: 0 }, /at least one token/)
  refused({ prompt: prompt(190) }, /context of 192 tokens/)
  refused({ prompt: prompt(120) }, /3 pages .* there are 2/)
  assert.is(engine.stats.steps, 0)
  await engine.close()
  model.free()
})

test('what makes a step fail is what a request is told', async () => {
  const model = await loadModel(quantized, { tokens: 128 })
  const engine = await startOnModel(model)
  model.free()
  const failed = await complete(engine, requests[0]!).then(
    () => undefined,
    (error: Error) => error,
  )
  assert.match(failed!.message, /was freed/)
})

test.after(() => device.close())
test.run()
