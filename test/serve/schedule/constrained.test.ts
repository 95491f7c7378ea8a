import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ScheduleRequest } from '../../../serve/schedule/request.ts'
import { Scheduler } from '../../../serve/schedule/scheduler.ts'
import { rng } from '../../support/rng.ts'

const limits = { tokens: 24, sequences: 6, pages: 30, context: 400, waiting: 50, watermark: 0 }

test('a constrained sequence is planned with known tokens alone, and never while it is held; others go on', () => {
  const { integer, uniform } = rng(95)
  const scheduler = new Scheduler<ScheduleRequest & { readonly constrained: boolean }>(limits, 8)
  const held = new Set<number>()
  const left = new Map<number, number>()
  for (let i = 0; i < 24; i++) {
    const prompt = Int32Array.from({ length: integer(1, 40) }, () => integer(0, 9))
    const maxTokens = integer(1, 60)
    left.set(scheduler.add({ prompt, maxTokens, stopIds: [], constrained: i % 2 === 0 }), maxTokens)
  }
  let waits = 0
  let together = 0
  for (let step = 0; scheduler.busy && step < 20_000; step++) {
    for (const id of [...held])
      if (uniform() < 0.4) {
        held.delete(id)
        scheduler.release(id)
      }
    const plan = scheduler.plan()
    for (const { sequence, previousRow, row } of plan?.shares ?? []) {
      if (!sequence.request.constrained) continue
      assert.is(previousRow, -1)
      assert.ok(row < 0 || !held.has(sequence.id), 'a token is sampled that nothing is known of')
      if (row >= 0) assert.is(sequence.pending, 1)
    }
    if (held.size > 0 && plan !== undefined) together++
    if (held.size > 0 && plan === undefined) waits++
    const oldest =
      scheduler.uncollected.length > 1 || plan === undefined ? scheduler.uncollected[0] : undefined
    if (oldest === undefined) continue
    const ids = Array.from({ length: oldest.rows }, () => integer(0, 9))
    for (const { id, request, finished } of scheduler.collect(oldest, ids)) {
      left.set(id, left.get(id)! - 1)
      if (finished) assert.is(left.get(id), 0)
      else if (request.constrained) {
        held.add(id)
        scheduler.hold(id)
      }
    }
  }
  assert.not(scheduler.busy)
  assert.ok([...left.values()].every((count) => count === 0))
  assert.ok(waits > 0 && together > 100 && scheduler.stats.preemptions > 0, `${waits} ${together}`)
  assert.is(scheduler.stats.heldPages, 0)
})

test.run()
