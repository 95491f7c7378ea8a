import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { TokenConstraint } from '../../../serve/engine/constraint.ts'
import type { EngineOptions } from '../../../serve/engine/engine.ts'
import { EnginePool } from '../../../serve/engine/engine-pool.ts'
import { fakeOutput } from '../../../serve/engine/fake-model.ts'
import { FakeRunner } from '../../../serve/engine/fake-runner.ts'
import type { EngineRequest } from '../../../serve/engine/request.ts'
import { ChildRunner } from '../../../serve/process/child-runner.ts'
import type { RunnerSpec } from '../../../serve/process/runner-spec.ts'
import { greedy } from '../../../serve/sampling.ts'
import { RefusalError } from '../../../serve/schedule/request.ts'

const vocabSize = 300
const limits = { tokens: 128, sequences: 8, pages: 80, context: 600, waiting: 64, watermark: 2 }

const requestOf = (seed: number, prompt = [seed, 5, seed]): EngineRequest => ({
  prompt,
  maxTokens: 60 + (seed % 40),
  stopIds: [],
  sampling: { ...greedy, seed },
})

const tokensOf = (pool: EnginePool, request: EngineRequest): Promise<number[]> =>
  new Promise((resolve, reject) => {
    const tokens: number[] = []
    pool.add(request, {
      onToken: (token) => tokens.push(token),
      onEnd: (error) => (error ? reject(error) : resolve(tokens)),
    })
  })

const startPool = (count: number, more: Partial<EngineOptions> = {}) =>
  EnginePool.start(
    Array.from({ length: count }, () => ({
      limits,
      pageTokens: 64,
      openRunner: async () =>
        new FakeRunner({ vocabSize, pages: limits.pages, pageTokens: 64, stepMilliseconds: 1 }),
      ...more,
    })),
  )

const promptOf = (prefix: number, length = 200) =>
  Array.from({ length }, (_, i) => (i < 180 ? prefix * 31 + i * 7 : i * 3 + length) % vocabSize)

test('prompts that share a beginning go to one engine, others to the one with the fewest requests', async () => {
  const pool = await startPool(3)
  for (let round = 0; round < 4; round++)
    await Promise.all(
      [0, 1, 2].map((prefix) => tokensOf(pool, requestOf(round, promptOf(prefix, 190 + round)))),
    )
  for (const { stats } of pool.engines) {
    assert.is(stats.promptTokens, 190 + 191 + 192 + 193)
    // Two full pages of each later prompt were known.
    assert.is(stats.prefixHits, 3 * 2 * 64)
  }
  const { stats } = pool
  assert.equal([stats.running, stats.waiting, stats.heldPages, stats.pages], [0, 0, 0, 3 * limits.pages])
  await pool.close()
})

test('an engine that is far behind the others gets no more of its prefix', async () => {
  const pool = await startPool(2)
  const all = Array.from({ length: 80 }, (_, i) => tokensOf(pool, requestOf(i, promptOf(1, 190 + i))))
  const taken = pool.engines.map(({ stats }) => stats.running + stats.waiting)
  assert.ok(Math.min(...taken) >= 20, `${taken}`)
  await Promise.all(all)
  await pool.close()
})

test('what one engine has no room for goes to another; when none has, it is refused', async () => {
  const pool = await startPool(2, { limits: { ...limits, waiting: 2, sequences: 1 } })
  const requests = Array.from({ length: 4 }, (_, i) => tokensOf(pool, requestOf(i, promptOf(2))))
  assert.throws(
    () => pool.add(requestOf(9), { onToken: () => {}, onEnd: () => {} }),
    (error: unknown) => error instanceof RefusalError && error.reason === 'full',
  )
  await Promise.all(requests)
  await pool.close()
})

test('when a child is killed its requests go on in the others, no token lost or twice', async () => {
  const fake: RunnerSpec = {
    kind: 'fake',
    vocabSize,
    ...limits,
    sequences: 64,
    pages: 400,
    stepMilliseconds: 2,
  }
  const children: ChildRunner[] = []
  const first = await Promise.all([0, 1, 2].map(() => ChildRunner.open(fake)))
  let restarts = 0
  const pool = await EnginePool.start(
    first.map((runner, i) => {
      children[i] = runner
      let opened = 0
      return {
        limits: runner.ready.limits,
        pageTokens: runner.ready.pageTokens,
        onRestart: () => restarts++,
        openRunner: async () => {
          if (opened++ === 0) return runner
          children[i] = await ChildRunner.open(fake)
          return children[i]
        },
      }
    }),
  )
  const requests = Array.from({ length: 48 }, (_, i) => requestOf(i))
  const running = Promise.all(requests.map((request) => tokensOf(pool, request)))
  assert.equal(
    pool.engines.map(({ stats }) => stats.running + stats.waiting),
    [16, 16, 16],
  )
  while (pool.engines[1]!.stats.steps < 15) await new Promise((resolve) => setTimeout(resolve, 2))
  process.kill(children[1]!.pid!, 'SIGKILL')
  while (restarts === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  await new Promise((resolve) => setImmediate(resolve))
  assert.is(pool.engines[1]!.stats.running + pool.engines[1]!.stats.waiting, 0)
  const outputs = await running
  for (const [i, request] of requests.entries())
    assert.equal(outputs[i], fakeOutput(request, vocabSize), `request ${i}`)
  assert.is(pool.stats.heldPages, 0)
  // The one that was killed is there again.
  while (!pool.engines[1]!.available) await new Promise((resolve) => setTimeout(resolve, 10))
  assert.equal(await tokensOf(pool, requests[0]!), outputs[0]!)
  await pool.close()
})

test('a request with a constraint goes on with it elsewhere, whatever it was waiting for', async () => {
  const pool = await startPool(2, {
    openRunner: async () => {
      let steps = 0
      const onStep = () => {
        if (++steps === 12) throw new Error('the device is lost')
      }
      return new FakeRunner({ vocabSize, pages: limits.pages, pageTokens: 64, onStep })
    },
    failures: 100,
  })
  /** Lets the n-th token be one of those whose rest by 7 is that of n; complete after 40. */
  const constraint = (): TokenConstraint & { closed: number } => {
    const maskOf = (count: number) => {
      const bits = new Uint32Array(Math.ceil(vocabSize / 32))
      for (let token = count % 7; token < vocabSize; token += 7) bits[token >> 5]! |= 1 << (token & 31)
      return bits
    }
    let count = 0
    const own = {
      mask: maskOf(0),
      closed: 0,
      accept: async (token: number) => {
        assert.is(token % 7, count % 7)
        count++
        await new Promise((resolve) => setTimeout(resolve, count % 4))
        own.mask = maskOf(count)
        return count === 40 ? ('complete' as const) : ('open' as const)
      },
      close: () => {
        own.closed++
      },
    }
    return own
  }
  const constraints = Array.from({ length: 12 }, constraint)
  const outputs = await Promise.all(
    constraints.map((one, i) =>
      tokensOf(pool, { ...requestOf(i), maxTokens: 50, constrained: true, constraint: one }),
    ),
  )
  assert.equal(
    outputs.map(({ length }) => length),
    Array.from({ length: 12 }, () => 40),
  )
  assert.equal(
    constraints.map(({ closed }) => closed),
    Array.from({ length: 12 }, () => 1),
  )
  assert.ok(pool.stats.restarts > 2, `${pool.stats.restarts}`)
  await pool.close()
})

test('a request that is cancelled frees what it has, wherever it is', async () => {
  const pool = await startPool(2)
  const ids = Array.from({ length: 20 }, (_, i) =>
    pool.add(requestOf(i), { onToken: () => {}, onEnd: () => assert.unreachable() }),
  )
  for (const id of ids) pool.cancel(id)
  await pool.drain()
  assert.equal([pool.stats.running, pool.stats.heldPages], [0, 0])
  await pool.close()
})

test.run()
