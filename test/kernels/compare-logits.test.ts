import { test } from 'uvu'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { runCase } from '../support/run-kernel.ts'
import { compareLogitsCase } from './cases/logits.ts'

const device = checkedEmulator()

for (const [B, V] of [
  [1, 5],
  [4, 131],
  [3, 4096],
] as const) {
  const c = compareLogitsCase({ B, V, seed: B + V })
  test(c.name, () => runCase(device, c))
}

test.run()
