import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SPLIT, UNIT } from '../../../kernels/attention/arithmetic.ts'
import {
  COUNT,
  END,
  FIRST_SLOT,
  FROM,
  ITEM_WORDS,
  PAGES,
  PARTS,
  RUN_BITS,
  SEQUENCE,
  SLOT,
  TOKEN,
  UNIT_INDEX,
  UNITS,
} from '../../../kernels/attention/items.ts'
import { mostItems, planAttention } from '../../../kernels/attention/plan.ts'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const device = checkedEmulator()

const isWhole = (item: readonly number[]) => item[PARTS]! % 2 ** RUN_BITS === 1

/** Thirds of a page that an item has something of: one more for an odd page, and one for a part. */
const weightOf = (item: readonly number[]): number => {
  const from = Math.max(item[FROM]!, UNIT * item[UNIT_INDEX]!)
  const end = Math.min(item[END]!, UNIT * (item[UNIT_INDEX]! + item[UNITS]!))
  const pages = Math.ceil(end / 64) - Math.floor(from / 64)
  return 3 * pages + (pages % 2) + (isWhole(item) ? 0 : 1)
}

/** What a CTA has to do at most, where the heaviest item that is left always goes to who has the least. */
function greedyLoad(weights: readonly number[], ctas: number): number {
  const loads = new Array<number>(ctas).fill(0)
  for (const weight of [...weights].sort((x, y) => y - x)) loads[loads.indexOf(Math.min(...loads))]! += weight
  return Math.max(...loads)
}

/** Lists the items of a step, and checks every word of every one. */
async function checkPlan(o: {
  readonly counts: readonly number[]
  readonly contexts: readonly number[]
  readonly queries: number
  readonly window: number
  readonly ctas: number
  /** Sequences whose query tokens are a prompt's. */
  readonly prompts?: readonly boolean[]
}): Promise<number[]> {
  const B = o.counts.length
  const maxPages = Math.max(2, ...o.contexts.map((context) => Math.ceil(context / 64)))
  const pages = Int32Array.from({ length: B * maxPages }, (_, i) => 7 * i)
  const starts = Int32Array.from({ length: B + 1 }, (_, b) => o.counts.slice(0, b).reduce((x, y) => x + y, 0))
  const outputs = await runKernel(
    device,
    planAttention,
    { queries: o.queries, ctas: o.ctas, prompts: o.prompts !== undefined },
    {
      queryStart: { dtype: 'i32', shape: [B + 1], data: starts },
      context: { dtype: 'i32', shape: [B], data: Int32Array.from(o.contexts) },
      pages: { dtype: 'i32', shape: [B, maxPages], data: pages },
      ...(o.prompts && { prompts: { dtype: 'i32', shape: [B], data: Int32Array.from(o.prompts, Number) } }),
      window: o.window,
      items: { dtype: 'i32', shape: [mostItems(B, maxPages), ITEM_WORDS] },
      itemCount: { dtype: 'i32', shape: [1] },
    },
  )
  const places = Array.from({ length: outputs.itemCount![0]! }, (_, i) =>
    Array.from(outputs.items!.subarray(i * ITEM_WORDS, (i + 1) * ITEM_WORDS)),
  )
  const items = places.filter((item) => item[UNITS]! > 0)
  const weights = items.map(weightOf)
  if (places.length <= o.ctas || places.length % o.ctas > 0) {
    assert.is(items.length, places.length)
    weights.forEach((own, i) => {
      if (i > 0) assert.ok(own <= weights[i - 1]!, 'the heaviest come first')
    })
  } else {
    // CTAs go through the list back and forth.
    const ctas = Array.from({ length: o.ctas }, (_, cta) =>
      Array.from({ length: places.length / o.ctas }, (_, row) => {
        return places[row * o.ctas + (row % 2 ? o.ctas - 1 - cta : cta)]!
      }).filter((item) => item[UNITS]! > 0),
    )
    for (const [first, second] of ctas)
      assert.ok(!second || !isWhole(first!) || isWhole(second), 'a part is taken before what is whole')
    const loads = ctas.map((own) => own.reduce((sum, item) => sum + weightOf(item), 0))
    assert.ok(Math.max(...loads) - Math.min(...loads) <= Math.max(...weights), 'CTAs have the same to do')
    assert.ok(Math.max(...loads) <= 1.05 * greedyLoad(weights, o.ctas), 'CTAs end together')
  }
  const unitsOf = (b: number) => {
    const queries = o.counts[b]!
    if (queries < 1 || queries > o.queries || o.prompts?.[b]) return undefined
    const from = Math.max(0, o.contexts[b]! - queries - o.window + 1)
    const [first, end] = [Math.floor(from / UNIT), Math.ceil(o.contexts[b]! / UNIT)]
    return { queries, from, first, end }
  }
  const all = o.counts.reduce((sum, _, b) => sum + (unitsOf(b) ? unitsOf(b)!.end - unitsOf(b)!.first : 0), 0)
  const runs = (length: number) =>
    o.counts.reduce((sum, _, b) => {
      const own = unitsOf(b)
      return own ? sum + Math.floor((own.end - 1) / length) - Math.floor(own.first / length) + 1 : sum
    }, 0)
  const longest = Math.max(...o.counts.map((_, b) => (unitsOf(b) ? unitsOf(b)!.end - unitsOf(b)!.first : 0)))
  const mayCut = all <= 512 && longest <= 72
  const fine = mayCut ? [1, 2, 4].find((length) => runs(length) <= Math.floor(o.ctas)) : undefined
  const inSplit = fine ?? SPLIT_UNITS
  const slots = new Set<number>()
  for (const b of o.counts.keys()) {
    const own = items.filter((item) => item[SEQUENCE] === b).sort((x, y) => x[UNIT_INDEX]! - y[UNIT_INDEX]!)
    const units = unitsOf(b)
    if (units === undefined) {
      assert.is(own.length, 0)
      continue
    }
    let [next, parts] = [units.first, 0]
    for (const [i, item] of own.entries()) {
      assert.is(item[UNIT_INDEX], next)
      assert.ok(i === 0 || next % inSplit === 0, 'items behind the first begin with a split, or a run of one')
      assert.ok(item[UNITS]! <= (fine ?? Math.max(SPLIT_UNITS, Math.min(32, (1.05 * all) / o.ctas))))
      assert.equal([item[FROM], item[END]], [units.from, o.contexts[b]])
      assert.equal([item[COUNT], item[TOKEN]], [units.queries, starts[b]])
      assert.is(item[PAGES], pages[b * maxPages + 2 * next])
      if (2 * next + 1 < Math.ceil(o.contexts[b]! / 64))
        assert.is(item[PAGES + 1], pages[b * maxPages + 2 * next + 1])
      if (own.length > 1) {
        assert.is(item[SLOT], item[FIRST_SLOT]! + parts)
        const isApart = i > 0 && next % SPLIT_UNITS !== 0
        const stored = i === 0 ? 1 : isApart ? item[UNITS]! : Math.ceil(item[UNITS]! / SPLIT_UNITS)
        for (let part = 0; part < stored; part++) {
          assert.not.ok(slots.has(item[SLOT]! + part), 'each part has a slot of its own')
          slots.add(item[SLOT]! + part)
        }
        parts += stored
      }
      next += item[UNITS]!
    }
    assert.is(next, units.end)
    for (const item of own) assert.is(item[PARTS], Math.max(parts, 1) + 2 ** RUN_BITS * inSplit)
  }
  for (const slot of slots) assert.ok(slot < slots.size)
  return items.map((item) => item[UNITS]!)
}

const SPLIT_UNITS = SPLIT / UNIT

test('a mixed step is cut into items once, long ones first', async () => {
  const random = rng(1)
  const contexts = Array.from({ length: 1100 }, (_, b) => (b % 11 === 3 ? 0 : random.integer(9, 3000)))
  const counts = contexts.map((context, b) => (context === 0 ? 0 : b % 7 === 2 ? 9 : random.integer(1, 8)))
  for (const ctas of [66, 500, 4000]) await checkPlan({ counts, contexts, queries: 8, window: 2 ** 30, ctas })
})

test('what is a prompt is left out, however short it is', async () => {
  const random = rng(3)
  const contexts = Array.from({ length: 90 }, () => random.integer(9, 3000))
  const prompts = contexts.map(() => random.integer(0, 2) === 0)
  const counts = prompts.map((isPrompt) => (isPrompt ? random.integer(1, 9) : random.integer(1, 8)))
  for (const ctas of [66, 500])
    await checkPlan({ counts, contexts, queries: 8, window: 2 ** 30, ctas, prompts })
  const none = { counts: [1, 1], contexts: [70, 1], prompts: [true, true] }
  assert.equal(await checkPlan({ ...none, queries: 1, window: 2 ** 30, ctas: 66 }), [])
})

test('what is less than a share of the work is not cut', async () => {
  const units = await checkPlan({
    ...{ counts: Array(64).fill(1), contexts: Array(64).fill(1536), queries: 1, window: 2 ** 30, ctas: 66 },
  })
  assert.equal(units, Array(64).fill(12))
})

test('of contexts of all lengths all CTAs have about the same to do', async () => {
  const random = rng(4)
  for (let i = 0; i < 4; i++) {
    const contexts = Array.from({ length: 64 }, () => random.integer(1, 2048))
    const step = { counts: contexts.map(() => 1), contexts, queries: 1, window: 2 ** 30, ctas: 66 }
    await checkPlan(step)
  }
})

test('where there are CTAs for it, splits are cut', async () => {
  const one = { counts: [1], queries: 1, window: 2 ** 30, ctas: 66 }
  assert.equal(await checkPlan({ ...one, contexts: [1024] }), Array(8).fill(1))
  assert.equal(await checkPlan({ ...one, contexts: [8449] }), [...Array(33).fill(2), 1])
  assert.equal(await checkPlan({ ...one, contexts: [9300] }), [...Array(9).fill(8), 1])
  const four = { ...one, counts: [1, 1, 1, 1] }
  assert.equal(await checkPlan({ ...four, contexts: Array(4).fill(8000) }), [
    ...Array(60).fill(4),
    ...Array(4).fill(3),
  ])
  const random = rng(2)
  for (let i = 0; i < 12; i++) {
    const contexts = Array.from({ length: random.integer(1, 40) }, () => random.integer(1, 4000))
    const window = i % 3 === 0 ? random.integer(1, 3000) : 2 ** 30
    await checkPlan({
      counts: contexts.map(() => 1),
      contexts,
      queries: 1,
      window,
      ctas: random.integer(9, 200),
    })
  }
})

test('a long context is cut into runs of splits', async () => {
  const units = await checkPlan({
    ...{ counts: [1], contexts: [131_000], queries: 1, window: 2 ** 30, ctas: 66 },
  })
  assert.equal(units, Array(64).fill(16))
})

test('a window leaves out what is before it', async () => {
  const contexts = [1, 128, 129, 1100, 1152, 2300, 5000]
  await checkPlan({ counts: contexts.map(() => 1), contexts, queries: 1, window: 1030, ctas: 3 })
  await checkPlan({ counts: [1, 2, 2, 2, 2, 2, 2], contexts, queries: 2, window: 1, ctas: 1 })
})

test.run()
