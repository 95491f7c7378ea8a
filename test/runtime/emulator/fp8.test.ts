import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f16Value } from '../../../dsl/half.ts'
import { fp8Formats, fp8PairFromF32, halfPairFromFp8 } from '../../../runtime/emulator/arithmetic/fp8.ts'
import { rng } from '../../support/rng.ts'
import { fp8Value, nearestFp8 } from './fp8-model.ts'
import { bitsOf, build, fromBits } from './instantiate.ts'

for (const format of ['e4m3', 'e5m2'] as const) {
  const widen = build(['i32'], [], (w) => {
    w.v128.store(w.i32.const(0), fp8Formats[format].widen(w, w.i32x4.splat(w.get(w.args[0]))))
  })
  const unpack = build(['i32'], ['i32'], (w) => {
    halfPairFromFp8(w, fp8Formats[format], w.get(w.args[0]))
  })
  // By bits, for a JavaScript number may change a NaN.
  const pack = build(['i32', 'i32'], ['i32'], (w) => {
    const a = w.f32.reinterpret_i32(w.get(w.args[0]))
    fp8PairFromF32(w, fp8Formats[format], a, w.f32.reinterpret_i32(w.get(w.args[1])))
  })
  const narrow = (x: number): number => pack.run(0, bitsOf(x))
  const largest = format === 'e4m3' ? 448 : 57344

  test(`${format} is widened exactly, all 256 codes, to f32 and to both halves of f16x2`, () => {
    const words = new Float32Array(widen.bytes.buffer, 0, 4)
    for (let code = 0; code < 256; code++) {
      widen.run(code << 24)
      assert.ok(Object.is(words[0], fp8Value(format, code)), `${code} to f32: ${words[0]}`)
      const other = (code * 37 + 11) & 0xff
      const halves = unpack.run(code | (other << 8) | 0x5aa50000)
      assert.ok(Object.is(f16Value(halves & 0xffff), fp8Value(format, code)), `low ${code}`)
      assert.ok(Object.is(f16Value(halves >>> 16), fp8Value(format, other)), `high ${other}`)
    }
  })

  test(`f32 to ${format} gives back all 256 codes, NaN canonical and infinity saturated`, () => {
    for (let code = 0; code < 256; code++) {
      const value = fp8Value(format, code)
      const saturated = Math.sign(value) * largest
      if (Number.isNaN(value)) assert.is(narrow(value), 0x7f)
      else if (Number.isFinite(value)) assert.is(narrow(value), code)
      else assert.is(fp8Value(format, narrow(value)), saturated)
    }
    assert.is(pack.run(0, 0xffc12345 | 0), 0x7f, 'a negative NaN')
    assert.is(pack.run(bitsOf(-Infinity), bitsOf(1e30)), (narrow(-largest) << 8) | narrow(largest))
  })

  test(`f32 to ${format} rounds every midpoint to even, and its neighbours to the nearer side`, () => {
    const top = narrow(largest)
    for (let code = 0; code < top; code++) {
      const middle = bitsOf((fp8Value(format, code) + fp8Value(format, code + 1)) / 2)
      const even = code & 1 ? code + 1 : code
      for (const sign of [0, 1]) {
        const run = (pattern: number): number => pack.run(0, pattern | (sign << 31)) - (sign << 7)
        assert.is(run(middle), even)
        assert.is(run(middle - 1), code)
        assert.is(run(middle + 1), code + 1)
      }
    }
  })

  test(`f32 to ${format} agrees with a search of the nearest code on random patterns`, () => {
    const random = rng(9)
    for (let trial = 0; trial < 5000; trial++) {
      const near = Math.fround(random.normal() * 2 ** random.integer(-20, 18))
      const any = fromBits(random.integer(0, 0xffff) * 65536 + random.integer(0, 0xffff))
      const x = trial % 2 ? near : any
      assert.is(narrow(x), nearestFp8(format, x), `${x}`)
    }
  })
}

test.run()
