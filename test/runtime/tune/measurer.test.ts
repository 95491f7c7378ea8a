import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LoadError, Measurer, TuneError } from '../../../runtime/tune/measurer.ts'
import type { FakeBehaviour } from '../../support/fake-bench.ts'
import { cell, fakeProgram } from '../../support/fake-tuning.ts'

const bench = new URL('../../support/fake-bench.ts', import.meta.url)

const names = ['a', 'b', 'c', 'd']
const microseconds = { a: 10, b: 12, c: 30, d: 11 }

/** Measures the four names in a process of their own. */
async function measured(behaviour: Partial<FakeBehaviour>) {
  const measurer = new Measurer({ bench, problem: { microseconds, ...behaviour }, patienceMs: 700 })
  try {
    await Promise.all(names.map((name, id) => measurer.load(id, fakeProgram({ name }))))
    const first = await measurer.measure(
      cell(1),
      names.map((name, id) => ({ id, config: { name } })),
    )
    const ids = first.results.map(({ id }) => id)
    // Whatever happened, those that are left can be measured again.
    const again = await measurer.measure(
      cell(4),
      ids.map((id) => ({ id, config: { name: names[id]! } })),
    )
    return { ...first, again }
  } finally {
    await measurer.close()
  }
}

test('times programs in a process of its own, the fastest first', async () => {
  const { results, rejected, again } = await measured({})
  assert.equal(rejected, [])
  assert.equal(results.map(({ id }) => names[id]).slice(0, 2), ['a', 'd'])
  assert.is(results.length, 4)
  const [low, high] = results[0]!.interval!
  assert.ok(low >= 10 && low <= results[0]!.us && high >= results[0]!.us)
  assert.is(results.at(-1)!.interval, null, 'the slowest leaves before its interval is known')
  assert.ok(again.results[0]!.us >= 20, 'a shape of four times the tokens')
})

test('a candidate that computes something else is rejected before it is timed', async () => {
  const { results, rejected } = await measured({ wrong: ['a'] })
  assert.equal(rejected, [{ id: 0, failure: 'wrong', reason: 'out[0, 0] is 1 and must be 2' }])
  assert.equal(results.map(({ id }) => names[id])[0], 'd')
})

test('a candidate that never ends costs its process and nothing else', async () => {
  const { results, rejected, again } = await measured({ hangs: ['b'] })
  assert.equal(rejected, [{ id: 1, failure: 'hung', reason: 'it did not end in time' }])
  assert.is(results.length, 3)
  assert.is(again.results.length, 3)
})

test('one that hangs only among others is found by going slowly', async () => {
  const { results, rejected } = await measured({ hangsLater: ['d'] })
  assert.equal(
    rejected.map(({ id, failure }) => [names[id], failure]),
    [['d', 'hung']],
  )
  assert.is(results.length, 3)
})

test('one that spoils the device is rejected, with what the process said', async () => {
  const { results, rejected } = await measured({ crashes: ['a'] })
  assert.is(rejected.length, 1)
  assert.is(rejected[0]!.failure, 'launch')
  assert.match(rejected[0]!.reason, 'illegal address')
  assert.is(results.length, 3)
})

test('what the device does not load or open is said', async () => {
  const measurer = new Measurer({ bench, problem: { microseconds, unloadable: ['c'] } })
  assert.equal(await measurer.load(0, fakeProgram({ name: 'a' })), {
    registers: 42,
    localBytes: 0,
    sharedBytes: 1024,
  })
  const error = await measurer.load(2, fakeProgram({ name: 'c' })).catch((reason: unknown) => reason)
  assert.instance(error, LoadError)
  assert.is((error as Error).message, 'too many registers')
  await measurer.close()
  const nowhere = new Measurer({ bench, device: 'nowhere', problem: { microseconds } })
  const refused = await nowhere.device().catch((reason: unknown) => reason)
  assert.instance(refused, TuneError)
  assert.is((refused as Error).message, "there is no device 'nowhere'")
})

test.run()
