import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { siluTimesReference } from '../../kernels/silu-mul.ts'
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

test('the reference is near silu in float64, far out too', () => {
  for (let gate = Math.fround(-80); gate < 200; gate = Math.fround(gate + 0.0173)) {
    const wanted = (gate / (1 + Math.exp(-gate))) * 1.5
    const actual = siluTimesReference(gate, 1.5)
    // The f32 of log2 e errs by 1.3e-8 of an exponent of up to 116.
    assert.ok(Math.abs(actual - wanted) <= Math.abs(wanted) * 2e-6, `${gate}: ${actual}, expected ${wanted}`)
  }
  for (const gate of [-(2 ** 120), -1e4, -88, 1e4, 2 ** 120]) {
    const actual = siluTimesReference(Math.fround(gate), 1)
    assert.ok(
      gate > 0 ? Math.abs(actual / gate - 1) < 2e-7 : actual <= 0 && actual > -1e-35,
      `${gate}: ${actual}`,
    )
  }
})

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
