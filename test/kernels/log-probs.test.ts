import { test } from 'uvu'
import { assertSameInParts, eachRow } from '../support/batch-invariance.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { runCase } from '../support/run-kernel.ts'
import { logProbsCase } from './cases/logits.ts'

const device = checkedEmulator()

for (const [B, V] of [
  [1, 5],
  [3, 131],
  [2, 4096],
  [2, 8200],
] as const) {
  const c = logProbsCase({ B, V, seed: B + V })
  test(c.name, () => runCase(device, c))
}

test('a row alone gives what it gives in a batch', () =>
  assertSameInParts(
    device,
    logProbsCase({ B: 5, V: 1000, seed: 2 }),
    ['logits', 'targets', 'out'],
    ['out'],
    eachRow(5),
  ))

test.run()
