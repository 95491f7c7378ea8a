import { test } from 'uvu'
import { assertSameInParts, eachRow } from '../support/batch-invariance.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { halfTypes } from '../support/halfs.ts'
import { runCase } from '../support/run-kernel.ts'
import { embedTokensCase } from './cases/rows.ts'

const device = checkedEmulator()

for (const dtype of halfTypes) {
  for (const [T, H] of [
    [1, 8],
    [17, 40],
    [3, 640],
    [5, 4104],
  ] as const) {
    const c = embedTokensCase({ T, H, dtype, seed: T + H })
    test(c.name, () => runCase(device, c))
  }
}

// So many rows of this width that the first CTAs have those of others brought into L2, and some ids are none.
const many = embedTokensCase({ T: 210, H: 16384, dtype: 'f16', seed: 4 })
test(many.name, () => runCase(device, many))

test('a token alone gives what it gives in a batch', () =>
  assertSameInParts(
    device,
    embedTokensCase({ T: 5, H: 256, dtype: 'f16', seed: 3 }),
    ['ids', 'out'],
    ['out'],
    eachRow(5),
  ))

test.run()
