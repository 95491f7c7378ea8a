import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SPLIT, UNIT } from '../../../kernels/attention/arithmetic.ts'
import { mostRounds, planAttention } from '../../../kernels/attention/plan.ts'
import {
  COUNT,
  ENTRY,
  FIRST_SLOT,
  LIVE,
  PAGE,
  POSITION,
  ROUND_UNITS,
  SEQUENCE,
  SLOT,
  SPLITS,
  TEAM,
  TOKEN,
  UNIT_INDEX,
} from '../../../kernels/attention/rounds.ts'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const device = checkedEmulator()

/** Lists the units of a step, and checks every word of every entry. */
async function checkPlan(o: {
  readonly counts: readonly number[]
  readonly contexts: readonly number[]
  readonly queries: number
  readonly window: number
}): Promise<{ readonly units: number; readonly rounds: number }> {
  const B = o.counts.length
  const maxPages = Math.max(2, ...o.contexts.map((context) => Math.ceil(context / 64)))
  const pages = Int32Array.from({ length: B * maxPages }, (_, i) => 7 * i)
  const starts = Int32Array.from({ length: B + 1 }, (_, b) => o.counts.slice(0, b).reduce((x, y) => x + y, 0))
  const outputs = await runKernel(
    device,
    planAttention,
    { queries: o.queries },
    {
      queryStart: { dtype: 'i32', shape: [B + 1], data: starts },
      context: { dtype: 'i32', shape: [B], data: Int32Array.from(o.contexts) },
      pages: { dtype: 'i32', shape: [B, maxPages], data: pages },
      window: o.window,
      rounds: { dtype: 'i32', shape: [mostRounds(B, maxPages), ROUND_UNITS, ENTRY] },
      roundCount: { dtype: 'i32', shape: [1] },
    },
  )
  const rounds = outputs.roundCount![0]!
  const seen = new Map<string, readonly number[]>()
  for (let at = 0; at < rounds * ROUND_UNITS; at++) {
    const entry = Array.from(outputs.rounds!.subarray(at * ENTRY, (at + 1) * ENTRY))
    if (entry[LIVE] === 0) continue
    const key = `${entry[SEQUENCE]} ${entry[UNIT_INDEX]}`
    assert.not.ok(seen.has(key), key)
    seen.set(key, [...entry, at])
  }
  let units = 0
  let slots = 0
  for (const [b, count] of o.counts.entries()) {
    if (count < 1 || count > o.queries) continue
    const position = o.contexts[b]! - count
    const from = Math.max(0, position - o.window + 1)
    const [first, last] = [Math.floor(from / UNIT), Math.floor((o.contexts[b]! - 1) / UNIT)]
    const splitOf = (unit: number) => Math.floor((unit * UNIT) / SPLIT)
    const splits = splitOf(last) - splitOf(first) + 1
    for (let unit = first; unit <= last; unit++) {
      const entry = seen.get(`${b} ${unit}`)!
      const start = unit * UNIT
      assert.is(entry[LIVE], Math.max(0, from - start) | (Math.min(UNIT, o.contexts[b]! - start) << 16))
      assert.is(entry[PAGE], pages[b * maxPages + 2 * unit])
      assert.equal([entry[COUNT], entry[TOKEN], entry[POSITION]], [count, starts[b], position])
      // A team is the split's units side by side in one round.
      const begin = Math.max(first, (splitOf(unit) * SPLIT) / UNIT)
      const length = Math.min(last + 1, ((splitOf(unit) + 1) * SPLIT) / UNIT) - begin
      const warp = entry[ENTRY]! % ROUND_UNITS
      assert.equal([entry[TEAM]! & 15, entry[TEAM]! >> 8], [warp - (unit - begin), length])
      assert.is(seen.get(`${b} ${begin}`)![ENTRY], entry[ENTRY]! - (unit - begin))
      assert.is(entry[SPLITS], splits)
      if (splits > 1)
        assert.equal([entry[FIRST_SLOT], entry[SLOT]], [slots, slots + splitOf(unit) - splitOf(first)])
    }
    units += last - first + 1
    if (splits > 1) slots += splits
  }
  assert.is(seen.size, units)
  return { units, rounds }
}

test('every unit of a mixed step is listed once, beside those of its split', async () => {
  const random = rng(1)
  const contexts = Array.from({ length: 300 }, (_, b) => (b % 11 === 3 ? 0 : random.integer(9, 3000)))
  const counts = contexts.map((context, b) => (context === 0 ? 0 : b % 7 === 2 ? 9 : random.integer(1, 8)))
  const { units, rounds } = await checkPlan({ counts, contexts, queries: 8, window: 2 ** 30 })
  assert.ok(rounds * ROUND_UNITS < 1.1 * units, `${rounds} rounds for ${units} units`)
})

test('a window leaves out what is before it', async () => {
  const contexts = [1, 128, 129, 1100, 1152, 2300, 5000]
  await checkPlan({ counts: contexts.map(() => 1), contexts, queries: 1, window: 1030 })
  await checkPlan({ counts: [1, 2, 2, 2, 2, 2, 2], contexts, queries: 2, window: 1 })
})

test.run()
