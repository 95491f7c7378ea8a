import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  Engine,
  EngineError,
  type EngineOptions,
  type RequestListener,
} from '../../../serve/engine/engine.ts'
import { fakeOutput } from '../../../serve/engine/fake-model.ts'
import { FakeRunner, type FakeRunnerOptions } from '../../../serve/engine/fake-runner.ts'
import type { EngineRequest } from '../../../serve/engine/request.ts'
import { greedy } from '../../../serve/sampling.ts'
import { RefusalError, type ScheduleLimits } from '../../../serve/schedule/request.ts'
import { rng } from '../../support/rng.ts'

const vocabSize = 50
const pageTokens = 4
const roomy: ScheduleLimits = {
  tokens: 64,
  sequences: 16,
  pages: 400,
  context: 200,
  waiting: 100,
  watermark: 4,
}

interface Setting {
  readonly limits?: Partial<ScheduleLimits>
  readonly runner?: Partial<FakeRunnerOptions>
  readonly engine?: Partial<EngineOptions>
}

function start({ limits = {}, runner = {}, engine = {} }: Setting = {}): Promise<Engine> {
  const all = { ...roomy, ...limits }
  const openRunner = async () =>
    new FakeRunner({ vocabSize, pages: all.pages, pageTokens, wholeContext: true, ...runner })
  return Engine.start({ limits: all, pageTokens, openRunner, ...engine })
}

/** A request's tokens, as they come, and how it ends. */
class Recorder implements RequestListener {
  readonly tokens: number[] = []
  readonly ended: Promise<Error | undefined>
  ends = 0
  #end!: (error: Error | undefined) => void

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  onToken(token: number): void {
    this.tokens.push(token)
  }

  onEnd(error?: Error): void {
    this.ends++
    this.#end(error)
  }
}

const requestOf = (seed: number, more: Partial<EngineRequest> = {}): EngineRequest => ({
  prompt: Array.from({ length: 5 + (seed % 23) }, (_, i) => (i * (1 + (seed % 3))) % vocabSize),
  maxTokens: 3 + (seed % 17),
  stopIds: [1, 2],
  sampling: { ...greedy, seed },
  ...more,
})

async function runAll(engine: Engine, requests: readonly EngineRequest[]): Promise<Recorder[]> {
  const recorders = requests.map((request) => {
    const recorder = new Recorder()
    engine.add(request, recorder)
    return recorder
  })
  for (const recorder of recorders) assert.is(await recorder.ended, undefined)
  return recorders
}

const requests = Array.from({ length: 64 }, (_, seed) => requestOf(seed))
const expected = requests.map((request) => fakeOutput(request, vocabSize))

/** Ten ways to run the same requests. */
const arrangements: Readonly<
  Record<string, Setting & { readonly order?: number; readonly priorities?: number }>
> = {
  'all at once': {},
  'one after the other': { limits: { sequences: 1 } },
  'in another order': { order: 3 },
  'in small pieces of prompts': { limits: { tokens: 17, sequences: 16 } },
  'a token of a prompt at a time': { limits: { tokens: 5, sequences: 5 } },
  'with hardly any pages': { limits: { pages: 24, watermark: 0 } },
  'without a prefix that is found': { limits: { pages: 24, watermark: 8, sequences: 2 } },
  'with priorities': { limits: { pages: 40 }, priorities: 3 },
  'with everything tight': {
    limits: { pages: 20, tokens: 6, sequences: 6, watermark: 1 },
    order: 5,
    priorities: 4,
  },
  'on steps that take time': { runner: { stepMilliseconds: 0.2, tokenMilliseconds: 0.01 } },
}

for (const [name, { order = 1, priorities = 1, ...setting }] of Object.entries(arrangements))
  test(`64 requests get the tokens that each gets alone: ${name}`, async () => {
    const engine = await start(setting)
    const picked = requests.map((_, i) => (i * order) % requests.length)
    const arranged = picked.map((i) => ({ ...requests[i]!, priority: i % priorities }))
    const recorders = await runAll(engine, arranged)
    picked.forEach((request, i) => {
      assert.equal(recorders[i]!.tokens, expected[request], `request ${request}`)
      assert.is(recorders[i]!.ends, 1)
    })
    assert.is(engine.stats.heldPages, 0)
    await engine.close()
  })

test('the tight arrangements do preempt, and the roomy ones find prefixes', async () => {
  const tight = await start(arrangements['with hardly any pages'])
  await runAll(tight, requests)
  assert.ok(tight.stats.preemptions > 0)
  await tight.close()
  const roomy = await start()
  await runAll(roomy, requests)
  assert.ok(roomy.stats.prefixHits > 0)
  assert.is(roomy.stats.generatedTokens, expected.flat().length)
  await roomy.close()
})

test('requests go on from the tokens that they have when steps fail, however often', async () => {
  const { uniform } = rng(6)
  const reasons: string[] = []
  const engine = await start({
    limits: { pages: 60 },
    runner: {
      onStep: () => {
        if (uniform() < 0.2) throw new Error('the GPU fell off')
      },
    },
    engine: { failures: 100, onRestart: ({ message }) => reasons.push(message) },
  })
  const recorders = await runAll(engine, requests)
  for (const [i, { tokens }] of recorders.entries()) assert.equal(tokens, expected[i], `request ${i}`)
  assert.ok(engine.stats.restarts > 3)
  assert.equal(reasons, new Array(engine.stats.restarts).fill('the GPU fell off'))
  assert.is(engine.stats.heldPages, 0)
  await engine.close()
})

test('a step that does not end has failed', async () => {
  let opened = 0
  const engine = await start({
    engine: {
      stepMilliseconds: 50,
      openRunner: async () => {
        const runner = new FakeRunner({ vocabSize, pages: roomy.pages, pageTokens })
        const hangs = opened++ === 0
        return hangs
          ? { bounds: runner.bounds, submit: () => new Promise(() => {}), close: async () => {} }
          : runner
      },
    },
  })
  const [recorder] = await runAll(engine, requests.slice(0, 1))
  assert.equal(recorder!.tokens, expected[0])
  assert.is(opened, 2)
  await engine.close()
})

test('when every step fails, requests end with the reason', async () => {
  const engine = await start({
    runner: {
      onStep: () => {
        throw new Error('no such device')
      },
    },
  })
  const recorder = new Recorder()
  engine.add(requestOf(1), recorder)
  const error = await recorder.ended
  assert.instance(error, EngineError)
  assert.match(error!.message, 'steps fail over and over')
  assert.is((error!.cause as Error).message, 'no such device')
  assert.throws(() => engine.add(requestOf(1), recorder), 'over and over')
  assert.is(recorder.ends, 1)
  await engine.close()
})

test('ten thousand requests that are dropped at random moments leave every page free', async () => {
  const engine = await start({ limits: { pages: 60, waiting: 20_000 } })
  const { integer } = rng(9)
  const kept: { recorder: Recorder; output: readonly number[] }[] = []
  for (let i = 0; i < 10_000; i++) {
    const request = requestOf(i)
    const recorder = new Recorder()
    const id = engine.add(request, recorder)
    if (i % 10 === 0) kept.push({ recorder, output: fakeOutput(request, vocabSize) })
    else {
      const { onToken } = recorder
      const drops = integer(0, 4)
      if (drops === 0) engine.cancel(id)
      recorder.onToken = (token) => {
        onToken.call(recorder, token)
        if (recorder.tokens.length >= drops) engine.cancel(id)
      }
    }
    if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  for (const { recorder, output } of kept) {
    assert.is(await recorder.ended, undefined)
    assert.equal(recorder.tokens, output)
  }
  await engine.drain()
  assert.is(engine.stats.heldPages, 0)
  assert.is(engine.stats.running + engine.stats.waiting, 0)
  await engine.close()
})

test('an engine that drains ends what it has and takes nothing more', async () => {
  const engine = await start()
  const recorder = new Recorder()
  engine.add(requestOf(4), recorder)
  const drained = engine.drain()
  assert.throws(() => engine.add(requestOf(5), recorder), 'shutting down')
  await drained
  assert.equal(recorder.tokens, expected[4])
  await engine.close()
})

test('an engine that is closed ends its requests with an error', async () => {
  const engine = await start({ runner: { stepMilliseconds: 1 } })
  const recorder = new Recorder()
  engine.add(requestOf(4, { maxTokens: 150, stopIds: [] }), recorder)
  await engine.close()
  assert.match((await recorder.ended)!.message, 'closed')
})

test('a listener that throws ends its own request alone', async () => {
  const engine = await start()
  const bad = new Recorder()
  bad.onToken = () => {
    throw new Error('bad listener')
  }
  engine.add(requestOf(4), bad)
  const [good] = await runAll(engine, [requestOf(5)])
  assert.equal(good!.tokens, expected[5])
  assert.is((await bad.ended)!.message, 'bad listener')
  assert.is(engine.stats.restarts, 0)
  await engine.close()
})

test('requests that cannot run are refused, and those beyond the queue', async () => {
  const engine = await start({ limits: { waiting: 2 } })
  const add = (request: EngineRequest) => engine.add(request, new Recorder())
  assert.throws(
    () => add(requestOf(1, { prompt: [] })),
    (error: unknown) => error instanceof RefusalError && error.reason === 'impossible',
  )
  add(requestOf(1))
  add(requestOf(2))
  assert.throws(
    () => add(requestOf(3)),
    (error: unknown) => error instanceof RefusalError && error.reason === 'full',
  )
  await engine.close()
})

test.run()
