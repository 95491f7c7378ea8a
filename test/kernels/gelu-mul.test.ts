import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { geluTimesReference } from '../../kernels/gelu-mul.ts'
import { assertSameInParts, eachRow } from '../support/batch-invariance.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { halfTypes } from '../support/halfs.ts'
import { runCase } from '../support/run-kernel.ts'
import { geluMulCase, geluMulQuantizeCase } from './cases/rows.ts'

const device = checkedEmulator()

for (const dtype of halfTypes) {
  for (const form of ['erf', 'tanh'] as const) {
    for (const [T, H] of [
      [17, 8],
      [1, 264],
      [12, 640],
    ] as const) {
      for (const make of [geluMulCase, geluMulQuantizeCase]) {
        const c = make({ T, H, dtype, seed: T + H, form })
        test(`${c.name} ${form}`, () => runCase(device, c))
      }
    }
  }
}

/** Φ(x) by the series of the error function, and by its continued fraction in the tails. */
function normal(x: number): number {
  const z = Math.abs(x) / Math.SQRT2
  if (z < 3) {
    let term = z
    let sum = z
    for (let n = 1; n < 80; n++) {
      term *= (-z * z) / n
      sum += term / (2 * n + 1)
    }
    return 0.5 + (Math.sign(x) * sum) / Math.sqrt(Math.PI)
  }
  let fraction = z
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction
  const tail = Math.exp(-z * z) / (2 * Math.sqrt(Math.PI) * fraction)
  return x < 0 ? tail : 1 - tail
}

test('both forms are near what they stand for, in the tails too', () => {
  for (let gate = Math.fround(-12); gate < 12; gate = Math.fround(gate + 0.0137)) {
    const tanh = gate / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3)))
    for (const [form, wanted] of [
      ['erf', gate * normal(gate)],
      ['tanh', tanh],
    ] as const) {
      const actual = geluTimesReference(form, gate, 1)
      // An exponent of up to 44 errs by 2⁻¹⁹ at most. Where gates are cut off, 1 + erf and 1 + tanh in f32 have long been 0.
      const cutOff = { erf: 3e-10, tanh: 7e-13 }[form]
      assert.ok(
        Math.abs(actual - wanted) <= Math.abs(wanted) * 1e-5 + cutOff,
        `${form} of ${gate} is ${actual}, expected ${wanted}`,
      )
    }
  }
})

test('a row alone gives what it gives in a batch', async () => {
  const c = geluMulQuantizeCase({ T: 5, H: 1408, dtype: 'f16', seed: 5 })
  await assertSameInParts(device, c, ['x', 'q', 'scale', 'sum'], ['q', 'scale', 'sum'], eachRow(5))
})

test.run()
