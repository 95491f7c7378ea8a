import { test } from 'uvu'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { runCase } from '../../support/run-kernel.ts'
import { type PrefillOptions, prefillCase } from '../cases/prefill.ts'

const device = checkedEmulator()

const cases: Omit<PrefillOptions, 'seed'>[] = [
  { kv: 'kv4', D: 64, Hq: 2, Hkv: 1, dtype: 'f16', sequences: [{ context: 70, queries: 70 }] },
]

cases.forEach((each, i) => {
  const c = prefillCase({ ...each, seed: 100 + i })
  test(c.name, () => runCase(device, c))
})

test.after(() => device.close())
test.run()
