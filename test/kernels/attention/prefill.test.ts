import { test } from 'uvu'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { runCase } from '../../support/run-kernel.ts'
import { type PrefillOptions, prefillCase } from '../cases/prefill.ts'

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

test.after(() => device.close())
test.run()
