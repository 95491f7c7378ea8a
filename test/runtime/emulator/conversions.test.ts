import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  f32FromHalf,
  type HalfName,
  halfFromF32,
  halfPairFromF32,
} from '../../../runtime/emulator/arithmetic/convert.ts'
import { rng } from '../../support/rng.ts'
import { bfloat16, binary16, binary32, exact, nearest, valueOfBits } from './exact-float.ts'
import { bitsOf, build, fromBits } from './instantiate.ts'

const formats = { f16: binary16, bf16: bfloat16 } as const
const names = ['f16', 'bf16'] as const
const isNanBits = (name: HalfName, bits: number) => Number.isNaN(valueOfBits(bits, formats[name]))

for (const name of names) {
  const { precision, minExponent } = formats[name]
  const widen = build(['i32'], ['i32'], (w) => {
    w.i32.reinterpret_f32(f32FromHalf(w, name, w.get(w.args[0])))
  })
  // By bits, for a JavaScript number may change a NaN.
  const narrow = build(['i32'], ['i32'], (w) => {
    halfFromF32(w, name, w.f32.reinterpret_i32(w.get(w.args[0])))
  })

  test(`${name} to f32 is exact for all 65536 patterns`, () => {
    for (let bits = 0; bits < 65536; bits++) {
      const want = valueOfBits(bits, formats[name])
      const got = fromBits(widen.run(bits | 0xabcd0000))
      assert.ok(Object.is(got, want), `${bits.toString(16)}: ${got} instead of ${want}`)
    }
  })

  test(`f32 to ${name} returns all 65536 patterns, NaN canonical`, () => {
    for (let bits = 0; bits < 65536; bits++) {
      const got = narrow.run(widen.run(bits))
      assert.is(got, isNanBits(name, bits) ? 0x7fff : bits)
    }
  })

  test(`f32 to ${name} rounds every midpoint to even, and its neighbours to the nearer side`, () => {
    const top = name === 'f16' ? 0x7c00 : 0x7f80
    for (let bits = 0; bits < top; bits++) {
      const low = valueOfBits(bits, formats[name])
      const ulp = 2 ** (Math.max(minExponent, low ? Math.floor(Math.log2(low)) : minExponent) - precision + 1)
      const middle = bitsOf(low + ulp / 2)
      const even = bits & 1 ? bits + 1 : bits
      for (const sign of [0, 1]) {
        const run = (pattern: number) => narrow.run(pattern | (sign << 31)) - (sign << 15)
        assert.is(run(middle), even)
        assert.is(run(middle - 1), bits)
        assert.is(run(middle + 1), bits + 1)
      }
    }
  })

  test(`f32 to ${name} rounds random patterns once`, () => {
    const random = rng(700)
    for (let trial = 0; trial < 20_000; trial++) {
      const pattern = random.integer(0, 2 ** 32 - 1)
      const x = fromBits(pattern)
      if (!Number.isFinite(x)) continue
      const got = valueOfBits(narrow.run(pattern), formats[name])
      assert.is(got, nearest(exact(x), formats[name]) + 0)
    }
  })

  test(`a pair of f32 becomes ${name}x2, the first operand above`, () => {
    const { run } = build(['f32', 'f32'], ['i32'], (w) => {
      halfPairFromF32(w, name, w.get(w.args[0]), w.get(w.args[1]))
    })
    const random = rng(701)
    for (let trial = 0; trial < 500; trial++) {
      const [a, b] = [Math.fround(random.normal() * 100), Math.fround(random.normal() / 1e5)]
      const want = ((narrow.run(bitsOf(a)) << 16) | narrow.run(bitsOf(b))) >>> 0
      assert.is(run(a, b) >>> 0, want)
    }
  })
}

test('the exact reference itself agrees with f32 rounding', () => {
  const random = rng(705)
  for (let trial = 0; trial < 1000; trial++) {
    const x = random.normal() * 2 ** random.integer(-150, 127)
    assert.is(nearest(exact(x), binary32), Math.fround(x) + 0)
  }
})

test.run()
