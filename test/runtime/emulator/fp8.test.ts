import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f16Value } from '../../../dsl/half.ts'
import { fp8Formats, fp8PairFromF32, halfPairFromFp8 } from '../../../runtime/emulator/arithmetic/fp8.ts'
import { rng } from '../../support/rng.ts'
import { fp8Value, nearestFp8 } from './fp8-model.ts'
import { bitsOf, build, fromBits } from './instantiate.ts'
import { kernelText, moduleText, run } from './support.ts'

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

/** %f of two numbers a thread to a pair of codes, and the low 16 bits of the thread's number to two halves. */
const conversions = (format: string): string =>
  kernelText(
    format,
    ['u64', 'u64', 'u64'],
    [128, 1, 1],
    `.reg .b32 %r<4>; .reg .b16 %h<3>; .reg .f32 %f<3>; .reg .b64 %rd<8>;
    mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mad.lo.u32 %r1, %r2, 128, %r1;
    ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2];
    mul.wide.u32 %rd4, %r1, 8; add.u64 %rd1, %rd1, %rd4; ld.global.v2.f32 {%f1, %f2}, [%rd1];
    cvt.rn.satfinite.${format}x2.f32 %h1, %f2, %f1;
    mul.wide.u32 %rd5, %r1, 2; add.u64 %rd2, %rd2, %rd5; st.global.b16 [%rd2], %h1;
    cvt.u16.u32 %h2, %r1; cvt.rn.f16x2.${format}x2 %r3, %h2;
    mul.wide.u32 %rd6, %r1, 4; add.u64 %rd3, %rd3, %rd6; st.global.b32 [%rd3], %r3;`,
  )
const text = moduleText((['e4m3', 'e5m2'] as const).map(conversions))

for (const format of ['e4m3', 'e5m2'] as const)
  for (const checks of [false, true])
    test(`conversions of ${format} in a kernel${checks ? ', lane by lane' : ''}`, async () => {
      const count = 1024
      const random = rng(4)
      const numbers = Float32Array.from(
        { length: 2 * count },
        () => random.normal() * 2 ** random.integer(-9, 9),
      )
      numbers[5] = Number.NaN
      const pairs = new Uint16Array(count)
      const halves = new Uint16Array(2 * count)
      const kernel = { name: format, ptx: text, block: [128, 1, 1] as const }
      await run(kernel, [count / 128, 1, 1], [numbers, pairs, halves], { checks })
      for (let i = 0; i < count; i++) {
        const [low, high] = [numbers[2 * i]!, numbers[2 * i + 1]!]
        assert.is(pairs[i], nearestFp8(format, low) | (nearestFp8(format, high) << 8))
        for (const [j, code] of [i & 0xff, i >> 8].entries())
          assert.ok(Object.is(f16Value(halves[2 * i + j]!), fp8Value(format, code)), `${code}`)
      }
    })

test.run()
