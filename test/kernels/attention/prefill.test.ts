import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { assertSame, runCase, runKernel } from '../../support/run-kernel.ts'
import { inPieces, type PrefillOptions, prefillCase } from '../cases/prefill.ts'

const device = checkedEmulator()

const cases: Omit<PrefillOptions, 'seed'>[] = [
  { kv: 'kv4', D: 64, Hq: 2, Hkv: 1, dtype: 'f16', sequences: [{ context: 70, queries: 70 }] },
  { kv: 'kv8', D: 64, Hq: 4, Hkv: 2, dtype: 'bf16', sequences: [{ context: 130, queries: 9 }] },
  { kv: 'kv4', D: 128, Hq: 4, Hkv: 1, dtype: 'f16', sequences: [{ context: 257, queries: 40 }] },
  {
    kv: 'kv8',
    D: 128,
    Hq: 3,
    Hkv: 1,
    dtype: 'f16',
    sequences: [{ context: 129, queries: 44 }],
    rawStages: 4,
  },
  { kv: 'kv4', D: 96, Hq: 2, Hkv: 2, dtype: 'bf16', sequences: [{ context: 200, queries: 11 }], window: 50 },
  { kv: 'kv8', D: 96, Hq: 16, Hkv: 1, dtype: 'f16', sequences: [{ context: 300, queries: 9 }], window: 170 },
  // A tile whose rows all see the last unit in full, with another behind it.
  {
    kv: 'kv4',
    D: 64,
    Hq: 4,
    Hkv: 1,
    dtype: 'f16',
    sequences: [
      { context: 256, queries: 35 },
      { context: 40, queries: 30 },
    ],
    ctas: 1,
  },
  {
    kv: 'kv4',
    D: 64,
    Hq: 1,
    Hkv: 1,
    dtype: 'f16',
    sequences: [
      { context: 10, queries: 0 },
      { context: 2100, queries: 20 },
      { context: 63, queries: 63 },
      { context: 64, queries: 12 },
    ],
    compared: (token) => token % 3 === 0,
  },
]

cases.forEach((each, i) => {
  const c = prefillCase({ ...each, seed: 100 + i })
  test(c.name, () => runCase(device, c))
})

const prompts: Omit<PrefillOptions, 'sequences' | 'seed'>[] = [
  { kv: 'kv4', D: 128, Hq: 4, Hkv: 1, dtype: 'f16' },
  { kv: 'kv8', D: 64, Hq: 2, Hkv: 1, dtype: 'bf16', window: 70 },
]
prompts.forEach((each, i) => {
  test(`a row of ${each.kv} has the same bits in whatever piece of its prompt it comes`, async () => {
    const o = { ...each, sequences: [{ context: 300, queries: 300 }], seed: 200 + i }
    const whole = prefillCase(o)
    const outOf = async (c: typeof whole) => {
      const { out, taken } = await runKernel(device, c.kernel, c.config, c.args)
      assert.equal(taken, Int32Array.of(0), 'who takes the last tile leaves none taken for the next launch')
      return out!
    }
    const expected = await outOf(whole)
    for (const pieces of [
      [1, 130, 64, 105],
      [299, 1],
    ])
      assertSame(await outOf(inPieces(whole, o, pieces)), expected, each.Hq * each.D)
  })
})

test.after(() => device.close())
test.run()
