import { test } from 'uvu'
import { assertSameInParts, eachRow } from '../support/batch-invariance.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { halfTypes } from '../support/halfs.ts'
import { runCase } from '../support/run-kernel.ts'
import { siluMulCase, siluMulQuantizeCase } from './cases/rows.ts'

const device = checkedEmulator()

for (const dtype of halfTypes) {
  for (const [T, H] of [
    [17, 8],
    [3, 40],
    [1, 256],
    [17, 640],
    [3, 1408],
    [2, 4104],
  ] as const) {
    for (const make of [siluMulCase, siluMulQuantizeCase]) {
      const c = make({ T, H, dtype, seed: T + H })
      test(c.name, () => runCase(device, c))
    }
  }
}

test('a row alone gives what it gives in a batch', async () => {
  const options = { T: 12, H: 1408, dtype: 'f16', seed: 5 } as const
  await assertSameInParts(device, siluMulCase(options), ['x', 'out'], ['out'], eachRow(12))
  await assertSameInParts(
    device,
    siluMulQuantizeCase(options),
    ['x', 'q', 'scale', 'sum'],
    ['q', 'scale', 'sum'],
    eachRow(12),
  )
})

test.run()
