import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../../checkpoint/open.ts'
import { PAGE_TOKENS } from '../../../kernels/formats/kv.ts'
import { Model } from '../../../models/model.ts'
import { quantizeCheckpoint } from '../../../quantize/quantize-checkpoint.ts'
import { recipeNamed } from '../../../quantize/recipe.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { Engine } from '../../../serve/engine/engine.ts'
import { ModelRunner, scheduleLimitsOf } from '../../../serve/engine/model-runner.ts'
import type { EngineRequest } from '../../../serve/engine/request.ts'
import { greedy } from '../../../serve/sampling.ts'
import { continueGreedily, loadForTest } from '../../support/generate.ts'
import { rng } from '../../support/rng.ts'
import { writeTinyModel } from '../../support/tiny-model.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-runner-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const device = openEmulator()
test.after(() => device.close())

const folder = join(root, 'w4a8kv4')
const plain = openCheckpoint(await writeTinyModel(join(root, 'bf16'), 5))
await quantizeCheckpoint(folder, plain, recipeNamed('w4a8kv4'), { producer: 'quattuor test' })
plain.close()

interface Room {
  readonly tokens: number
  readonly sequences: number
  readonly pages: number
}

interface Outcome {
  readonly tokens: number[]
  readonly tops: (readonly number[])[]
}

/** Runs requests on an engine over the model with so much room. */
async function generate(requests: readonly EngineRequest[], room: Room) {
  const checkpoint = openCheckpoint(folder)
  const { tokens, sequences, pages } = room
  const limits = { tokens, sequences, pagesPerSequence: 2, logitRows: sequences }
  const model = await Model.load(device, checkpoint, { limits, pages })
  checkpoint.close()
  const engine = await Engine.start({
    limits: scheduleLimitsOf(model, { waiting: 100, watermark: 0 }),
    pageTokens: PAGE_TOKENS,
    openRunner: () => ModelRunner.create(model),
    failures: 0,
  })
  const outcomes = await Promise.all(
    requests.map(
      (request) =>
        new Promise<Outcome>((resolve, reject) => {
          const outcome: Outcome = { tokens: [], tops: [] }
          engine.add(request, {
            onToken: (token, _finished, logProbs) => {
              outcome.tokens.push(token)
              if (logProbs) outcome.tops.push(logProbs.top.map(({ id }) => id))
            },
            onEnd: (error) => (error ? reject(error) : resolve(outcome)),
          })
        }),
    ),
  )
  const { stats } = engine
  await engine.close()
  model.free()
  return { outcomes, stats }
}

const random = rng(21)
const shared = Array.from({ length: 70 }, () => random.integer(0, 255))

/** Prompts from one token to more than a page, of which some begin alike; half are greedy, some have penalties. */
const requests: readonly EngineRequest[] = [3, 60, 72, 1, 62, 64].map((length, i) => ({
  prompt: [...shared.slice(0, length), ...(i % 3 === 2 ? [i] : [])],
  maxTokens: 10,
  stopIds: [257],
  sampling:
    i % 2 === 0
      ? greedy
      : {
          ...greedy,
          temperature: 0.8,
          topK: 40,
          repetitionPenalty: 1.1,
          seed: i,
          minTokens: i === 3 ? 5 : 0,
        },
}))

const roomy: Room = { tokens: 256, sequences: 8, pages: 24 }
const alone: number[][] = []
for (const request of requests) alone.push((await generate([request], roomy)).outcomes[0]!.tokens)

test('the tokens are those of a loop that runs launch by launch and reads each step before the next', async () => {
  const picked = requests.filter(({ sampling }) => sampling.temperature === 0)
  const model = await loadForTest(device, folder, { sequences: 4, context: 128 })
  const prompts = picked.map(({ prompt }) => Array.from(prompt))
  const outputs = await continueGreedily(model, prompts, 10, [257])
  model.free()
  assert.equal(
    outputs,
    picked.map((request) => alone[requests.indexOf(request)]!.filter((id) => id !== 257)),
  )
})

const arrangements: Readonly<Record<string, Room>> = {
  'all at once': roomy,
  'two at a time, prompts cut': { tokens: 20, sequences: 2, pages: 24 },
  'with so few pages that some wait again': { tokens: 64, sequences: 6, pages: 4 },
}
for (const [name, room] of Object.entries(arrangements))
  test(`requests get the tokens that each gets alone: ${name}`, async () => {
    const { outcomes, stats } = await generate(requests, room)
    for (const [i, { tokens }] of outcomes.entries()) assert.equal(tokens, alone[i], `request ${i}`)
    assert.is(stats.heldPages, 0)
    if (room.pages < 8) assert.ok(stats.preemptions > 0, 'no sequence was preempted')
  })

test('the likeliest tokens are told to the request that asked, the chosen one first when it is greedy', async () => {
  const asked = { ...requests[0]!, sampling: { ...greedy, topLogProbs: 3 } }
  const { outcomes } = await generate([asked, requests[1]!], roomy)
  assert.equal(outcomes[0]!.tokens, alone[0])
  assert.equal(
    outcomes[0]!.tops.map((ids) => ids[0]),
    outcomes[0]!.tokens,
  )
  assert.ok(outcomes[0]!.tops.every((ids) => new Set(ids).size === 3))
  assert.is(outcomes[1]!.tops.length, 0)
})

test('what the device cannot do is refused before it is tried', async () => {
  const refused = async (more: Partial<EngineRequest>, message: string) => {
    try {
      await generate([{ ...requests[0]!, ...more }], roomy)
    } catch (error) {
      assert.match((error as Error).message, message)
      return
    }
    assert.unreachable(message)
  }
  await refused({ prompt: [1, 258] }, 'token id 258 is not in the model')
  await refused({ stopIds: [400] }, 'token id 400 is not in the model')
  await refused({ sampling: { ...greedy, temperature: -1 } }, 'temperature is -1')
  const logitBias = new Map(Array.from({ length: 600 }, (_, i) => [i % 258, 1]))
  await refused(
    { sampling: { ...greedy, logitBias, minTokens: 1 }, stopIds: Array(300).fill(257) },
    'bias fewer',
  )
})

test.run()
