import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { QuantizeError } from '../../quantize/error.ts'
import { hadamardMatrix } from '../../quantize/hadamard.ts'

// Orders of hidden sizes and heads: powers of two, and 2ᵏ times 12, 20, 28 (second kind), 36, 52 (field of 25), 60, 84.
for (const n of [1, 2, 64, 12, 20, 28, 36, 40, 52, 60, 80, 84, 96, 108, 140, 192])
  test(`the matrix of order ${n} is orthogonal with entries ±1/√n`, () => {
    const h = hadamardMatrix(n)
    for (const value of h) assert.is(Math.abs(value), 1 / Math.sqrt(n))
    for (let a = 0; a < n; a++)
      for (let b = 0; b <= a; b++) {
        let dot = 0
        for (let k = 0; k < n; k++) dot += h[a * n + k]! * h[b * n + k]!
        assert.ok(Math.abs(dot - (a === b ? 1 : 0)) < 1e-12, `rows ${a} and ${b} of ${n}: ${dot}`)
      }
  })

test('powers of two are the matrix that kernels compute: the sign is the parity of the common bits', () => {
  const h = hadamardMatrix(8)
  const parity = (bits: number): number => (bits === 0 ? 0 : (bits & 1) ^ parity(bits >> 1))
  for (let i = 0; i < 64; i++) assert.is(Math.sign(h[i]!), parity((i >> 3) & (i & 7)) === 1 ? -1 : 1)
})

for (const n of [6, 156, 11])
  test(`there is none of order ${n}`, () => {
    assert.throws(
      () => hadamardMatrix(n),
      (error: Error) => error instanceof QuantizeError && error.message.includes(`order ${n}`),
    )
  })

test.run()
