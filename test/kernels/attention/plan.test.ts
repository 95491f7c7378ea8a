import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SPLIT, UNIT } from '../../../kernels/attention/arithmetic.ts'
import {
  COUNT,
  END,
  FIRST_SLOT,
  FROM,
  ITEM_UNITS,
  ITEM_WORDS,
  PAGES,
  POSITION,
  SEQUENCE,
  SLOT,
  SPLITS,
  TOKEN,
  UNIT_INDEX,
  UNITS,
} from '../../../kernels/attention/items.ts'
import { mostItems, planAttention } from '../../../kernels/attention/plan.ts'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const device = checkedEmulator()

/** Lists the items of a step, and checks every word of every one. */
async function checkPlan(o: {
  readonly counts: readonly number[]
  readonly contexts: readonly number[]
  readonly queries: number
  readonly window: number
}): Promise<void> {
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
      items: { dtype: 'i32', shape: [mostItems(B, maxPages), ITEM_WORDS] },
      itemCount: { dtype: 'i32', shape: [1] },
    },
  )
  const count = outputs.itemCount![0]!
  const items = Array.from({ length: count }, (_, i) =>
    Array.from(outputs.items!.subarray(i * ITEM_WORDS, (i + 1) * ITEM_WORDS)),
  )
  const seen = new Map(items.map((item) => [`${item[SEQUENCE]} ${item[UNIT_INDEX]}`, item]))
  assert.is(seen.size, count)
  items.forEach((item, i) => {
    if (i > 0) assert.ok(item[UNITS]! <= items[i - 1]![UNITS]!, 'items of many units come first')
  })
  let splits = 0
  let slots = 0
  for (const [b, queries] of o.counts.entries()) {
    if (queries < 1 || queries > o.queries) continue
    const [position, end] = [o.contexts[b]! - queries, o.contexts[b]!]
    const from = Math.max(0, position - o.window + 1)
    const [first, last] = [Math.floor(from / SPLIT), Math.floor((end - 1) / SPLIT)]
    for (let split = first; split <= last; split++) {
      const begin = Math.max(Math.floor(from / UNIT), split * ITEM_UNITS)
      const units = Math.min(Math.ceil(end / UNIT), (split + 1) * ITEM_UNITS) - begin
      const item = seen.get(`${b} ${begin}`)!
      assert.equal([item[UNITS], item[FROM], item[END]], [units, from, end])
      assert.equal([item[COUNT], item[TOKEN], item[POSITION]], [queries, starts[b], position])
      assert.is(item[SPLITS], last - first + 1)
      if (last > first) assert.equal([item[FIRST_SLOT], item[SLOT]], [slots, slots + split - first])
      // Pages past the end are never asked for.
      const own = item.slice(PAGES).filter((_, i) => 2 * begin + i < Math.ceil(end / 64))
      assert.equal(
        own,
        own.map((_, i) => pages[b * maxPages + 2 * begin + i]),
      )
    }
    splits += last - first + 1
    if (last > first) slots += last - first + 1
  }
  assert.is(count, splits)
}

test('every split of a mixed step is listed once, long ones first', async () => {
  const random = rng(1)
  const contexts = Array.from({ length: 300 }, (_, b) => (b % 11 === 3 ? 0 : random.integer(9, 3000)))
  const counts = contexts.map((context, b) => (context === 0 ? 0 : b % 7 === 2 ? 9 : random.integer(1, 8)))
  await checkPlan({ counts, contexts, queries: 8, window: 2 ** 30 })
})

test('a window leaves out what is before it', async () => {
  const contexts = [1, 128, 129, 1100, 1152, 2300, 5000]
  await checkPlan({ counts: contexts.map(() => 1), contexts, queries: 1, window: 1030 })
  await checkPlan({ counts: [1, 2, 2, 2, 2, 2, 2], contexts, queries: 2, window: 1 })
})

test.run()
