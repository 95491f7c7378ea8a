import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { AuditError, audit } from '../../../serve/schedule/audit.ts'
import type { StepPlan, TokenEvent } from '../../../serve/schedule/plan.ts'
import { RefusalError, type ScheduleLimits, type ScheduleRequest } from '../../../serve/schedule/request.ts'
import { Scheduler } from '../../../serve/schedule/scheduler.ts'

const pageTokens = 4

function schedulerOf(limits: Partial<ScheduleLimits> = {}): Scheduler {
  const roomy = { tokens: 32, sequences: 8, pages: 64, context: 100, waiting: 100, watermark: 0 }
  return new Scheduler({ ...roomy, ...limits }, pageTokens)
}

/** A prompt of its own kind: prompts of different kinds have no token in common. */
const prompt = (kind: number, length: number) => Array.from({ length }, (_, i) => 1000 * kind + i)

const request = (kind: number, length: number, more: Partial<ScheduleRequest> = {}): ScheduleRequest => ({
  prompt: prompt(kind, length),
  maxTokens: 4,
  stopIds: [7],
  ...more,
})

/** What a plan has of each sequence: its number, first position and count. */
const sharesOf = (plan: StepPlan | undefined) =>
  plan?.shares.map(({ sequence, first, count }) => [sequence.id, first, count])

/** Collects a step in which every row samples `token`. */
const collect = (scheduler: Scheduler, plan: StepPlan, token = 1): TokenEvent[] =>
  scheduler.collect(plan, new Int32Array(plan.rows).fill(token))

/** Plans and collects a step, one after the other. */
function step(scheduler: Scheduler, token = 1): StepPlan {
  const plan = scheduler.plan()!
  collect(scheduler, plan, token)
  audit(scheduler)
  return plan
}

function runToEnd(scheduler: Scheduler): void {
  while (scheduler.busy) step(scheduler)
}

test('sequences that decode come first, then prompts, in pieces that fill the step', () => {
  const scheduler = schedulerOf({ tokens: 10 })
  scheduler.add(request(1, 3))
  assert.equal(sharesOf(step(scheduler)), [[0, 0, 3]])
  scheduler.add(request(2, 14))
  scheduler.add(request(3, 5))
  const plan = step(scheduler)
  assert.equal(sharesOf(plan), [
    [0, 3, 1],
    [1, 0, 9],
  ])
  assert.equal(
    plan.shares.map(({ row, draw }) => [row, draw]),
    [
      [0, 1],
      [-1, 0],
    ],
  )
  assert.equal(sharesOf(step(scheduler)), [
    [0, 4, 1],
    [1, 9, 5],
    [2, 0, 4],
  ])
})

test('a request takes as many tokens of steps as it needs: all but its last one', () => {
  const scheduler = schedulerOf()
  scheduler.add(request(1, 6, { maxTokens: 5 }))
  let tokens = 0
  for (let plan = scheduler.plan(), next = plan; plan; plan = next) {
    next = scheduler.plan()
    tokens += plan.tokens
    collect(scheduler, plan)
  }
  assert.is(tokens, 6 + 5 - 1)
  assert.not(scheduler.busy)
})

test('the next step is planned before the last is read, and names the row of the token that it needs', () => {
  const scheduler = schedulerOf()
  scheduler.add(request(1, 3))
  scheduler.add(request(2, 3))
  const first = scheduler.plan()!
  const second = scheduler.plan()!
  assert.equal(
    second.shares.map(({ previousRow, draw }) => [previousRow, draw]),
    [
      [0, 1],
      [1, 1],
    ],
  )
  collect(scheduler, first)
  assert.equal(
    scheduler.plan()!.shares.map(({ previousRow }) => previousRow),
    [0, 1],
  )
})

test('a stop token is known one step late; what was planned meanwhile is ignored, and the pages are free', () => {
  const scheduler = schedulerOf()
  const id = scheduler.add(request(1, 3))
  const first = scheduler.plan()!
  const second = scheduler.plan()!
  const [event] = collect(scheduler, first, 7)
  assert.equal([event!.id, event!.token, event!.finished], [id, 7, 'stop'])
  assert.is(scheduler.stats.heldPages, 0)
  assert.is(scheduler.plan(), undefined)
  assert.equal(collect(scheduler, second), [])
  audit(scheduler)
})

test('pages that are known are not computed again, but the last token always is', () => {
  const scheduler = schedulerOf()
  for (const again of [0, 1]) {
    scheduler.add(request(1, 12))
    assert.equal(sharesOf(step(scheduler)), [[again, again ? 8 : 0, again ? 4 : 12]])
    runToEnd(scheduler)
  }
  assert.is(scheduler.stats.prefixHits, 8)
  assert.is(scheduler.stats.prefixQueries, 24)
})

test('a prompt with an answer in it computes the answer as its own, and later prompts find that', () => {
  const scheduler = schedulerOf()
  const asked = scheduler.add(request(1, 6, { maxTokens: 20 }))
  for (let i = 0; i < 9; i++) step(scheduler)
  const next = { ...request(1, 6), prompt: [...prompt(1, 6), ...new Array(8).fill(1), 5, 6] }
  assert.is(scheduler.cache.knownTokens(Int32Array.from(next.prompt)), 4)
  for (const first of [4, 12]) {
    const id = scheduler.add(next)
    assert.equal(sharesOf(step(scheduler))!.at(-1), [id, first, 16 - first])
    if (first === 4) assert.ok(scheduler.cancel(asked))
    runToEnd(scheduler)
  }
})

test('a request that goes on from its answer finds the pages of it, which nobody else has or keeps', () => {
  const scheduler = schedulerOf({ sequences: 1 })
  scheduler.add(request(1, 6, { maxTokens: 9, priority: 1 }))
  const plans = Array.from({ length: 8 }, () => step(scheduler))
  assert.equal(sharesOf(plans.at(-1)), [[0, 12, 1]])
  // Takes its place.
  scheduler.add(request(2, 3, { maxTokens: 1 }))
  assert.equal(sharesOf(step(scheduler)), [[1, 0, 3]])
  assert.is(scheduler.stats.idlePages, 3)
  assert.equal(sharesOf(step(scheduler)), [[0, 12, 2]])
  assert.not(scheduler.busy)
  assert.is(scheduler.stats.idlePages, 1)
})

test('pages of an answer are kept when it ends as long as another that began alike waits for those behind them', () => {
  const scheduler = schedulerOf({ sequences: 2 })
  const steps = (count: number) => Array.from({ length: count }, () => sharesOf(step(scheduler))).at(-1)
  scheduler.add(request(1, 6, { maxTokens: 40, priority: 2 }))
  steps(8)
  const alike = scheduler.add(request(1, 6, { maxTokens: 40, priority: 1 }))
  assert.equal(steps(4), [
    [1, 8, 1],
    [0, 16, 1],
  ])
  scheduler.add(request(2, 3, { maxTokens: 1 }))
  assert.equal(steps(1), [
    [1, 9, 1],
    [2, 0, 3],
  ])
  assert.ok(scheduler.cancel(alike))
  assert.equal(steps(1), [[0, 16, 2]])
})

test('the rest of a prompt is a prompt, even if it is one token', () => {
  const scheduler = schedulerOf({ tokens: 8 })
  scheduler.add(request(1, 9))
  const plans = [step(scheduler), step(scheduler), step(scheduler)]
  assert.equal(plans.map(sharesOf), [[[0, 0, 8]], [[0, 8, 1]], [[0, 9, 1]]])
  assert.equal(
    plans.map(({ shares }) => [shares[0]!.isPrompt, shares[0]!.row]),
    [
      [true, -1],
      [true, 0],
      [false, 0],
    ],
  )
})

test('generated tokens are computed again a few at a time, apart from the prompt, and leave room for other prompts', () => {
  const scheduler = schedulerOf()
  scheduler.add(request(1, 5, { generated: new Array(18).fill(2), maxTokens: 20 }))
  scheduler.add(request(2, 40))
  const plans = Array.from({ length: 5 }, () => step(scheduler))
  assert.equal(plans.map(sharesOf), [
    [
      [0, 0, 5],
      [1, 0, 27],
    ],
    [
      [0, 5, 8],
      [1, 27, 13],
    ],
    [
      [1, 40, 1],
      [0, 13, 8],
    ],
    [
      [1, 41, 1],
      [0, 21, 2],
    ],
    [
      [0, 23, 1],
      [1, 42, 1],
    ],
  ])
  const own = plans.map(({ shares }) => shares.find(({ sequence }) => sequence.id === 0)!)
  assert.equal(
    own.map(({ isPrompt, row }) => [isPrompt, row]),
    [
      [true, -1],
      [false, -1],
      [false, -1],
      [false, 1],
      [false, 0],
    ],
  )
})

test('pages that two sequences computed at once become one', () => {
  const scheduler = schedulerOf()
  scheduler.add(request(1, 9))
  scheduler.add(request(1, 9))
  step(scheduler)
  assert.is(scheduler.stats.heldPages, 6)
  step(scheduler)
  assert.is(scheduler.stats.heldPages, 4)
})

test('choices of one prompt wait until it has been computed once', () => {
  const scheduler = schedulerOf({ tokens: 10 })
  const shared = prompt(1, 19)
  for (let i = 0; i < 3; i++) scheduler.add({ ...request(1, 1), prompt: shared, maxTokens: 9 })
  scheduler.add(request(2, 3))
  const shares = Array.from({ length: 4 }, () => sharesOf(step(scheduler)))
  assert.equal(shares, [
    [[0, 0, 10]],
    [[0, 10, 9]],
    [
      [0, 19, 1],
      [1, 16, 3],
      [2, 16, 3],
      [3, 0, 3],
    ],
    [
      [0, 20, 1],
      [1, 19, 1],
      [2, 19, 1],
      [3, 3, 1],
    ],
  ])
})

test('when pages are wanted, the prefix that was used least recently goes, from its end', () => {
  const hits = (kind: number) => {
    const scheduler = schedulerOf({ pages: 6 })
    const add = (other: number, length: number) => {
      scheduler.add(request(other, length, { maxTokens: 1 }))
      runToEnd(scheduler)
    }
    for (const other of [1, 2, 1]) add(other, 8)
    assert.is(scheduler.stats.idlePages, 4)
    add(3, 12)
    const before = scheduler.stats.prefixHits
    add(kind, 9)
    return scheduler.stats.prefixHits - before
  }
  assert.equal([hits(1), hits(2)], [8, 4])
})

test('without pages the sequence of the lowest rank waits again, and goes on from its tokens', () => {
  const scheduler = schedulerOf({ pages: 4 })
  const tokens = new Map<number, number>()
  scheduler.add(request(1, 7, { maxTokens: 6 }))
  scheduler.add(request(2, 7, { maxTokens: 6 }))
  const ids: number[][] = []
  while (scheduler.busy) {
    const plan = scheduler.plan()!
    ids.push(plan.shares.map(({ sequence }) => sequence.id))
    for (const { id } of collect(scheduler, plan)) tokens.set(id, (tokens.get(id) ?? 0) + 1)
    audit(scheduler)
  }
  assert.equal(
    [...tokens],
    [
      [0, 6],
      [1, 6],
    ],
  )
  assert.is(scheduler.stats.preemptions, 1)
  assert.equal(ids.slice(0, 4), [[0, 1], [0, 1], [0], [0]])
})

test('clients take turns, in the order of arrival for each', () => {
  const scheduler = schedulerOf({ sequences: 1, tokens: 100 })
  for (const client of ['a', 'a', 'a', 'b', 'b', 'c']) scheduler.add(request(1, 3, { client, maxTokens: 1 }))
  const order: number[] = []
  while (scheduler.busy) order.push(...step(scheduler).shares.map(({ sequence }) => sequence.id))
  assert.equal(order, [0, 3, 5, 1, 4, 2])
})

test('a lower number goes first, and takes the place of what runs', () => {
  const scheduler = schedulerOf({ sequences: 2 })
  for (const priority of [0, 1, 1]) scheduler.add(request(priority, 3, { priority }))
  step(scheduler)
  const urgent = scheduler.add(request(5, 3, { priority: -1 }))
  const plan = step(scheduler)
  assert.equal(
    plan.shares.map(({ sequence }) => sequence.id),
    [0, urgent],
  )
  assert.is(scheduler.stats.preemptions, 1)
})

test('a request takes no places when they would not be enough for it', () => {
  const scheduler = schedulerOf({ pages: 8 })
  scheduler.add(request(1, 12, { maxTokens: 9 }))
  scheduler.add(request(2, 4, { priority: 1 }))
  step(scheduler)
  scheduler.add(request(3, 24))
  step(scheduler)
  assert.is(scheduler.stats.preemptions, 0)
})

test('admission leaves pages for running sequences to grow into', () => {
  const scheduler = schedulerOf({ pages: 6, watermark: 2 })
  scheduler.add(request(1, 8, { maxTokens: 9 }))
  scheduler.add(request(2, 9, { maxTokens: 2 }))
  assert.is(step(scheduler).shares.length, 1)
  assert.is(scheduler.stats.waiting, 1)
  runToEnd(scheduler)
  assert.is(scheduler.stats.preemptions, 0)
})

test('a cancelled request gives up its pages at once, and its steps give nothing', () => {
  const scheduler = schedulerOf()
  const id = scheduler.add(request(1, 9))
  const plan = scheduler.plan()!
  assert.ok(scheduler.cancel(id))
  assert.is(scheduler.stats.heldPages, 0)
  assert.not(scheduler.cancel(id))
  assert.equal(collect(scheduler, plan), [])
  audit(scheduler)
})

test('a request can go on from tokens that it generated elsewhere', () => {
  const scheduler = schedulerOf()
  scheduler.add(request(1, 5, { generated: [8, 9], maxTokens: 4 }))
  assert.equal(sharesOf(step(scheduler)), [[0, 0, 5]])
  const plan = step(scheduler)
  assert.equal(sharesOf(plan), [[0, 5, 2]])
  assert.is(plan.shares[0]!.draw, 2)
  assert.equal([...plan.shares[0]!.sequence.tokens()], [...prompt(1, 5), 8, 9, 1])
  step(scheduler)
  assert.not(scheduler.busy)
})

test('requests that cannot run are refused with what to do', () => {
  const scheduler = schedulerOf({ pages: 4, waiting: 1 })
  const refusal = (bad: ScheduleRequest): RefusalError => {
    try {
      scheduler.add(bad)
    } catch (error) {
      assert.instance(error, RefusalError)
      return error as RefusalError
    }
    throw new Error('it was taken')
  }
  assert.match(refusal(request(1, 0)).message, 'no tokens')
  assert.match(refusal(request(1, 3, { maxTokens: 0 })).message, 'maxTokens is 0')
  assert.match(refusal(request(1, 97)).message, 'exceed the context of 100 tokens')
  assert.match(refusal(request(1, 14)).message, 'needs 5 pages of the key/value cache and there are 4')
  assert.match(refusal(request(1, 3, { generated: [1, 2, 3, 4] })).message, '4 of 4 tokens')
  assert.is(refusal(request(1, 0)).reason, 'impossible')
  scheduler.add(request(1, 13))
  assert.is(refusal(request(1, 3)).reason, 'full')
  assert.throws(() => schedulerOf({ tokens: 7 }), 'cannot decode 8 sequences')
})

test('steps are planned at most two ahead and collected in order', () => {
  const scheduler = schedulerOf()
  scheduler.add(request(1, 3))
  const first = scheduler.plan()!
  const second = scheduler.plan()!
  assert.throws(() => scheduler.plan(), 'two steps have not been collected')
  assert.throws(() => collect(scheduler, second), 'step 1 is not the oldest')
  assert.throws(() => scheduler.collect(first, []), 'step 0 has 1 rows, got 0 ids')
})

test('the audit finds a page that is lost', () => {
  const scheduler = schedulerOf()
  scheduler.add(request(1, 9))
  step(scheduler)
  scheduler.cache.take()
  assert.throws(
    () => audit(scheduler),
    (error: unknown) => error instanceof AuditError && /page \d+ is held 0 times/.test(error.message),
  )
})

test('with prompts first, sequences decode when prompts do not fill a step', () => {
  const scheduler = schedulerOf({ tokens: 10, promptsFirst: true })
  for (const kind of [1, 2, 3]) scheduler.add(request(kind, 8))
  // 24 tokens of prompts: two whole steps, and what is left beside those that have their first token.
  assert.equal(sharesOf(step(scheduler)), [
    [0, 0, 8],
    [1, 0, 2],
  ])
  assert.equal(sharesOf(step(scheduler)), [
    [1, 2, 6],
    [2, 0, 4],
  ])
  assert.equal(sharesOf(step(scheduler)), [
    [0, 8, 1],
    [1, 8, 1],
    [2, 4, 4],
  ])
  scheduler.add(request(4, 30))
  assert.equal(sharesOf(step(scheduler)), [[3, 0, 10]])
  assert.equal(sharesOf(step(scheduler)), [[3, 10, 10]])
  assert.equal(sharesOf(step(scheduler)), [[3, 20, 10]])
  assert.equal(sharesOf(step(scheduler)), [
    [0, 9, 1],
    [1, 9, 1],
    [2, 8, 1],
    [3, 30, 1],
  ])
  runToEnd(scheduler)
  assert.is(scheduler.stats.heldPages, 0)
})

test.run()
