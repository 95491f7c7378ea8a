import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { rmsNorm } from '../../kernels/rms-norm.ts'
import { assertSameInParts, eachRow } from '../support/batch-invariance.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { halfTypes, halfValues } from '../support/halfs.ts'
import { runCase, runKernel } from '../support/run-kernel.ts'
import { addRmsNormQuantizeCase, rmsNormCase, rmsNormQuantizeCase, rmsNormRowsCase } from './cases/rows.ts'

const device = checkedEmulator()

const shapes = [
  [17, 8],
  [3, 40],
  [17, 256],
  [1, 640],
  [3, 1408],
  [2, 4104],
] as const

for (const dtype of halfTypes) {
  for (const [T, H] of shapes) {
    for (const make of [rmsNormCase, rmsNormQuantizeCase, addRmsNormQuantizeCase]) {
      const c = make({ T, H, dtype, seed: T + H })
      test(c.name, () => runCase(device, c))
    }
  }
  for (const R of [1, 6]) {
    const c = rmsNormRowsCase({ T: 17, H: 264, R, dtype, seed: R })
    test(c.name, () => runCase(device, c))
  }
}

test('squares beyond f32 give no NaN', async () => {
  const { kernel, config, args } = rmsNormCase({ T: 2, H: 64, dtype: 'bf16', seed: 1 })
  const data = new Uint16Array(128).fill(0x7f7f)
  const { out } = await runKernel(device, kernel, config, {
    ...args,
    x: { dtype: 'bf16', shape: [2, 64], data },
  })
  assert.ok(halfValues(out!, 'bf16').every((value) => !Number.isNaN(value)))
})

test('a row alone gives what it gives in a batch', async () => {
  for (const H of [40, 1408]) {
    const options = { T: 17, H, dtype: 'f16', seed: H } as const
    await assertSameInParts(device, rmsNormCase(options), ['x', 'out'], ['out'], eachRow(17))
    await assertSameInParts(
      device,
      rmsNormQuantizeCase(options),
      ['x', 'q', 'scale', 'sum'],
      ['q', 'scale', 'sum'],
      eachRow(17),
    )
  }
})

test('a hidden size that is no multiple of 8 is refused with the reason', async () => {
  const { args } = rmsNormCase({ T: 1, H: 8, dtype: 'f16', seed: 1 })
  try {
    await runKernel(device, rmsNorm, { dtype: 'f16' as const, H: 12 }, args)
  } catch (error) {
    assert.match((error as Error).message, 'rows of 12 elements: only multiples of 8 are taken')
    return
  }
  assert.unreachable('accepted')
})

test.run()
