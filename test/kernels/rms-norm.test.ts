import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { rmsNorm, rmsNormQuantizeReference, rmsNormReference } from '../../kernels/rms-norm.ts'
import { assertSameInParts, eachRow } from '../support/batch-invariance.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { halfTypes, halfValues } from '../support/halfs.ts'
import { rng } from '../support/rng.ts'
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

// So many rows of this width that the first CTAs have those of others brought into L2.
const many = rmsNormRowsCase({ T: 9, H: 16384, R: 200, dtype: 'f16', seed: 7 })
test(many.name, () => runCase(device, many))

test('the references are near the norm in float64', () => {
  const random = rng(21)
  const H = 1408
  const values = (n: number) => Float64Array.from({ length: n }, () => Math.fround(3 * random.normal()))
  const [x, gamma] = [values(3 * H), values(H)]
  const normalized = rmsNormReference(x, gamma, 1e-5)
  const { q, scale } = rmsNormQuantizeReference(x, gamma, 1e-5)
  x.forEach((value, i) => {
    const row = Math.floor(i / H)
    const squares = x.subarray(row * H, (row + 1) * H).reduce((sum, v) => sum + v * v, 0)
    const wanted = (value / Math.sqrt(squares / H + 1e-5)) * gamma[i % H]!
    // Chains of at most 2⁴ roundings of f32, and half a step of the codes.
    assert.ok(Math.abs(normalized[i]! - wanted) <= Math.abs(wanted) * 2 ** -20, `x[${i}]`)
    assert.ok(Math.abs(q[i]! * scale[row]! - wanted) <= scale[row]! * (0.5 + 2 ** -12), `code ${i}`)
  })
})

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
