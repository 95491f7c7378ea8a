import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Engine } from '../../../serve/engine/engine.ts'
import { fakeOutput } from '../../../serve/engine/fake-model.ts'
import type { EngineRequest } from '../../../serve/engine/request.ts'
import { ChildRunner } from '../../../serve/process/child-runner.ts'
import type { RunnerSpec } from '../../../serve/process/runner-spec.ts'
import { greedy } from '../../../serve/sampling.ts'
import { nanoFolder } from '../../support/http-service.ts'

const vocabSize = 90
const fake: RunnerSpec = {
  kind: 'fake',
  vocabSize,
  tokens: 256,
  sequences: 64,
  context: 600,
  pages: 400,
  waiting: 1000,
  stepMilliseconds: 1,
}

const requestOf = (seed: number): EngineRequest => ({
  prompt: Array.from({ length: 3 + (seed % 90) }, (_, i) => (i * 7) % vocabSize),
  maxTokens: 200 + seed,
  stopIds: [],
  sampling: { ...greedy, seed },
})

const tokensOf = (engine: Engine, request: EngineRequest): Promise<number[]> =>
  new Promise((resolve, reject) => {
    const tokens: number[] = []
    engine.add(request, {
      onToken: (token) => tokens.push(token),
      onEnd: (error) => (error ? reject(error) : resolve(tokens)),
    })
  })

test('64 requests get every token once while their process is killed in the middle, over and over', async () => {
  let runner = await ChildRunner.open(fake)
  const { limits, pageTokens } = runner.ready
  let opened = 0
  const openRunner = async () => {
    if (opened++ > 0) runner = await ChildRunner.open(fake)
    return runner
  }
  const engine = await Engine.start({ limits, pageTokens, openRunner, failures: 3 })
  const requests = Array.from({ length: 64 }, (_, i) => requestOf(i))
  const running = Promise.all(requests.map((request) => tokensOf(engine, request)))
  // `npm run soak` kills 20 times.
  const kills = 4
  for (let i = 0; i < kills; i++) {
    const { steps } = engine.stats
    while (engine.stats.steps < steps + 20) await new Promise((resolve) => setTimeout(resolve, 2))
    process.kill(runner.pid!, 'SIGKILL')
    while (engine.stats.restarts <= i) await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const outputs = await running
  for (const [i, request] of requests.entries())
    assert.equal(outputs[i], fakeOutput(request, vocabSize), `request ${i}`)
  assert.is(engine.stats.restarts, kills)
  assert.is(engine.stats.heldPages, 0)
  await engine.close()
})

test('a model runs in a process of its own', async () => {
  const progress: number[] = []
  const runner = await ChildRunner.open(
    {
      kind: 'model',
      folder: nanoFolder,
      device: 'emulator',
      tokens: 32,
      sequences: 2,
      context: 128,
      waiting: 10,
    },
    ({ done, total }) => progress.push(done / total),
  )
  assert.is(progress.at(-1), 1)
  const { limits, pageTokens, device, memory } = runner.ready
  assert.equal([limits.pages, limits.context, pageTokens], [4, 128, 64])
  assert.match(device, 'emulator')
  assert.ok(memory.weights! > 1e6 && memory.pages! > 0)
  const engine = await Engine.start({ limits, pageTokens, openRunner: async () => runner })
  const request = { prompt: [0, 300, 301], maxTokens: 3, stopIds: [], sampling: greedy }
  const [first, second] = await Promise.all([tokensOf(engine, request), tokensOf(engine, request)])
  assert.equal(first, second)
  assert.is(first.length, 3)
  await engine.close()
})

test('a process that dies while nothing runs is replaced at once', async () => {
  const opened: ChildRunner[] = []
  const engine = await Engine.start({
    limits: { tokens: 8, sequences: 2, pages: 9, context: 64, waiting: 9, watermark: 0 },
    pageTokens: 64,
    openRunner: async () => {
      opened.push(await ChildRunner.open(fake))
      return opened.at(-1)!
    },
  })
  process.kill(opened[0]!.pid!, 'SIGKILL')
  while (opened.length < 2) await new Promise((resolve) => setTimeout(resolve, 10))
  const request = { ...requestOf(3), maxTokens: 5 }
  assert.equal(await tokensOf(engine, request), fakeOutput(request, vocabSize))
  await engine.close()
})

test('a process that cannot begin says why', async () => {
  const failure = async (spec: RunnerSpec): Promise<Error> => {
    try {
      await ChildRunner.open(spec)
    } catch (error) {
      return error as Error
    }
    throw new Error('it began')
  }
  const model = {
    kind: 'model',
    device: 'emulator',
    tokens: 8,
    sequences: 2,
    context: 64,
    waiting: 1,
  } as const
  const missing = await failure({ ...model, folder: '/nonexistent' })
  assert.equal(
    [missing.name, missing.message.split(';')[0]],
    ['CheckpointError', '/nonexistent is not a folder'],
  )
  const foreign = await failure({ ...model, folder: nanoFolder, device: 'abacus' })
  assert.is(foreign.name, 'UnknownDeviceError')
})

test.run()
