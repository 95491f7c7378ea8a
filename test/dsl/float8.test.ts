import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { E4M3_LARGEST, e4m3Bits, e4m3Value } from '../../dsl/float8.ts'
import { rng } from '../support/rng.ts'

test('every e4m3 is its own nearest', () => {
  for (let bits = 0; bits < 256; bits++)
    assert.is(e4m3Bits(e4m3Value(bits)), (bits & 0x7f) === 0x7f ? 0x7f : bits)
  assert.is(e4m3Value(0x7e), E4M3_LARGEST)
  assert.is(e4m3Value(0x01), 2 ** -9)
})

test('between two neighbours the nearer one is taken, and the even one in the middle', () => {
  const { uniform } = rng(1)
  for (let bits = 0; bits < 0x7e; bits++) {
    const [low, high] = [e4m3Value(bits), e4m3Value(bits + 1)]
    assert.is(e4m3Bits((low + high) / 2), bits % 2 === 0 ? bits : bits + 1)
    for (let i = 0; i < 8; i++) {
      const x = low + uniform() * (high - low)
      const expected = x < (low + high) / 2 ? bits : bits + 1
      assert.is(e4m3Bits(x), expected)
      assert.is(e4m3Bits(-x), expected | 0x80)
    }
  }
})

test('what is too large saturates', () => {
  for (const x of [449, 464, 1e30, Number.POSITIVE_INFINITY]) {
    assert.is(e4m3Bits(x), 0x7e)
    assert.is(e4m3Bits(-x), 0xfe)
  }
  assert.is(e4m3Bits(Number.NaN), 0x7f)
})

test.run()
