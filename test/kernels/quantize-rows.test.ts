import { test } from 'uvu'
import { assertSameInParts, eachRow } from '../support/batch-invariance.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { halfTypes } from '../support/halfs.ts'
import { runCase } from '../support/run-kernel.ts'
import { quantizeRowsCase, quantizeRowsFp8Case, quantizeRowsSummingCase } from './cases/rows.ts'

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
    for (const make of [quantizeRowsCase, quantizeRowsSummingCase, quantizeRowsFp8Case]) {
      const c = make({ T, H, dtype, seed: T + H })
      test(c.name, () => runCase(device, c))
    }
  }
}

test('a row alone gives what it gives in a batch', () =>
  assertSameInParts(
    device,
    quantizeRowsCase({ T: 12, H: 640, dtype: 'f16', seed: 9 }),
    ['x', 'q', 'scale', 'sum'],
    ['q', 'scale', 'sum'],
    eachRow(12),
  ))

test.run()
