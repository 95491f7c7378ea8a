import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  f32FromHalf,
  type HalfName,
  halfFromF32,
  halfFromF64,
  halfPairFromF32,
  type IntegerRounding,
  integerFromF32,
  packSaturated,
  roundF32,
  saturate,
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

  test(`f64 to ${name} rounds once where a stop at f32 would round twice`, () => {
    const { run } = build(['f64'], ['i32'], (w) => {
      halfFromF64(w, name, w.get(w.args[0]))
    })
    const random = rng(702)
    for (let trial = 0; trial < 5000; trial++) {
      const unit = 2 ** random.integer(minExponent - precision, 20)
      const halfway = (random.integer(2 ** (precision - 1), 2 ** precision - 1) + 0.5) * unit
      const x = halfway * (1 + (random.integer(-1, 1) as number) * 2 ** -40) * (trial % 2 ? 1 : -1)
      assert.is(valueOfBits(run(x), formats[name]), nearest(exact(x), formats[name]) + 0, `${x}`)
    }
    for (const x of [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 0, 1e300, -1e300])
      assert.ok(Object.is(valueOfBits(run(x), formats[name]), nearestOrSame(x, name)), `${x}`)
  })
}

function nearestOrSame(x: number, name: HalfName): number {
  return Number.isFinite(x) && Math.abs(x) < 1e200
    ? nearest(exact(x), formats[name])
    : Number.isNaN(x)
      ? x
      : Math.sign(x) * Number.POSITIVE_INFINITY
}

const roundings: Record<IntegerRounding, (x: number) => number> = {
  rni: (x) => {
    const low = Math.floor(x)
    const rest = x - low
    return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low
  },
  rzi: Math.trunc,
  rmi: Math.floor,
  rpi: Math.ceil,
}
const ranges = {
  s8: [-128, 127],
  u8: [0, 255],
  s16: [-32768, 32767],
  u16: [0, 65535],
  s32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
} as const
const edges = [
  0, -0, 0.5, 1.5, 2.5, 127.49, 127.5, 128, 128.5, 254.5, 255, 255.5, 256, 32767.5, 65535.5, 65536,
]
const huge = [2147483520, 2147483648, 4294967040, 4294967296, 1e20, Number.POSITIVE_INFINITY]

test('f32 to integers rounds as asked and saturates at the edges of each type', () => {
  const random = rng(703)
  const values = [...edges, ...huge].flatMap((x) => [x, -x])
  for (let i = 0; i < 300; i++) values.push(random.normal() * 10 ** random.integer(-2, 11))
  for (const [rounding, round] of Object.entries(roundings) as [IntegerRounding, (x: number) => number][])
    for (const [name, [low, high]] of Object.entries(ranges)) {
      const { run } = build(['f32'], ['i32'], (w) => {
        integerFromF32(w, rounding, name as keyof typeof ranges, w.get(w.args[0]))
      })
      for (const value of values) {
        const want = Math.min(high, Math.max(low, round(Math.fround(value))))
        const got = run(value)
        assert.is(name === 'u32' ? got >>> 0 : got, want + 0, `${rounding} ${name} ${value}`)
      }
      assert.is(run(Number.NaN), 0)
    }
})

test('f32 to 64-bit integers saturates, and NaN is the lone sign bit', () => {
  for (const [name, low, high] of [
    ['s64', -(2n ** 63n), 2n ** 63n - 1n],
    ['u64', 0n, 2n ** 64n - 1n],
  ] as const) {
    const { run } = build(['f32'], ['i64'], (w) => {
      integerFromF32(w, 'rzi', name, w.get(w.args[0]))
    })
    const unwrap = (x: unknown) => (name === 'u64' ? BigInt.asUintN(64, x as bigint) : (x as bigint))
    assert.is(unwrap(run(1e30)), high)
    assert.is(unwrap(run(-1e30)), low)
    assert.is(unwrap(run(2 ** 40)), 2n ** 40n)
    assert.is(unwrap(run(Number.NaN)), name === 'u64' ? 2n ** 63n : -(2n ** 63n))
  }
})

test('f32 rounds to integral f32 in all four directions', () => {
  for (const [rounding, round] of Object.entries(roundings) as [IntegerRounding, (x: number) => number][]) {
    const { run } = build(['f32'], ['f32'], (w) => {
      roundF32(w, rounding, w.get(w.args[0]))
    })
    for (const value of edges.flatMap((x) => [x, -x]))
      assert.is(run(value), round(Math.fround(value)), `${rounding} ${value}`)
  }
})

test('integers saturate from both signs', () => {
  const random = rng(704)
  for (const from of ['s32', 'u32'] as const)
    for (const [to, [low, high]] of Object.entries(ranges)) {
      const { run } = build(['i32'], ['i32'], (w) => {
        saturate(w, to as keyof typeof ranges, from, w.get(w.args[0]))
      })
      const near = [low - 1, low, high, high + 1, 0, -1, 2 ** 31 - 1, -(2 ** 31)]
      for (const value of [...near, ...Array.from({ length: 100 }, () => random.integer(-70000, 70000))]) {
        const x = from === 's32' ? value | 0 : value >>> 0
        const got = run(x)
        assert.is(to === 'u32' ? got >>> 0 : got, Math.min(high, Math.max(low, x)), `${from} ${to} ${x}`)
      }
    }
})

test('cvt.pack.sat puts b lowest, then a, then c', () => {
  const pack = (to: 's8' | 'u8' | 's16' | 'u16', third: boolean) =>
    build(['i32', 'i32', 'i32'], ['i32'], (w) => {
      const [a, b, c] = w.args
      if (third) packSaturated(w, to, w.get(a), w.get(b), w.get(c))
      else packSaturated(w, to, w.get(a), w.get(b))
    }).run
  assert.is(pack('s8', true)(1000, -1000, 0x12345678) >>> 0, 0x56787f80)
  assert.is(pack('u8', true)(-5, 300, 0x0000beef) >>> 0, 0xbeef00ff)
  assert.is(pack('s8', false)(-2, 3, 0) >>> 0, 0x0000fe03)
  assert.is(pack('s16', false)(-100000, 7, 0) >>> 0, 0x80000007)
  assert.is(pack('u16', false)(100000, -7, 0) >>> 0, 0xffff0000)
})

test('the exact reference itself agrees with f32 rounding', () => {
  const random = rng(705)
  for (let trial = 0; trial < 1000; trial++) {
    const x = random.normal() * 2 ** random.integer(-150, 127)
    assert.is(nearest(exact(x), binary32), Math.fround(x) + 0)
  }
})

test.run()
