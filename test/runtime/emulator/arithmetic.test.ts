import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Approximation, approximate } from '../../../runtime/emulator/arithmetic/approximate.ts'
import { type DotSign, dotBytes } from '../../../runtime/emulator/arithmetic/dot.ts'
import { clampToUnit, flush, fma, minMax } from '../../../runtime/emulator/arithmetic/f32.ts'
import {
  type HalfOperation,
  halfBinary,
  halfFma,
  halfMap,
} from '../../../runtime/emulator/arithmetic/halves.ts'
import { type Rng, rng } from '../../support/rng.ts'
import {
  bfloat16,
  binary16,
  binary32,
  exact,
  exactProduct,
  type FloatFormat,
  nearest,
  valueOfBits,
} from './exact-float.ts'
import { build } from './instantiate.ts'

const inf = Number.POSITIVE_INFINITY

const fmaRun = build(['f32', 'f32', 'f32'], ['f32'], (w) => {
  fma(w, w.get(w.args[0]), w.get(w.args[1]), w.get(w.args[2]))
}).run

function checkFma(a: number, b: number, c: number): void {
  const [x, y, z] = [Math.fround(a), Math.fround(b), Math.fround(c)]
  const sum = exactProduct(x, y) + exact(z)
  const want = sum === 0n ? x * y + z : nearest(sum, binary32)
  assert.ok(Object.is(fmaRun(x, y, z), want), `${x} * ${y} + ${z} gave ${fmaRun(x, y, z)}, not ${want}`)
}

test('fma rounds once on random operands of all sizes', () => {
  const random = rng(800)
  for (let trial = 0; trial < 8000; trial++) {
    const [ea, eb] = [random.integer(-70, 60), random.integer(-70, 60)]
    const [a, b] = [random.normal() * 2 ** ea, random.normal() * 2 ** eb]
    checkFma(a, b, random.normal() * 2 ** (ea + eb + random.integer(-30, 30)))
  }
})

test('fma rounds once where the f64 sum lies halfway between two f32', () => {
  const random = rng(801)
  for (let trial = 0; trial < 8000; trial++) {
    // An odd product of 25 bits is a tie; an addend too small for f64 to see decides it.
    const a = random.integer(2048, 4095) * 2 + 1
    const b = Math.floor(2 ** 25 / a) - 1 - (Math.floor(2 ** 25 / a) % 2)
    const scale = 2 ** random.integer(-40, 40)
    const sign = trial % 2 ? 1 : -1
    checkFma(a * scale, b, sign * scale * 2 ** random.integer(-60, -25) * (trial % 3 ? 1 : random.uniform()))
    // The addend is the tie, the product decides.
    checkFma(2 ** -30 * random.normal(), random.normal(), sign * random.integer(2 ** 23, 2 ** 24))
  }
})

test('fma rounds once among subnormal results', () => {
  const random = rng(802)
  for (let trial = 0; trial < 4000; trial++) {
    const c = random.integer(-(2 ** 23), 2 ** 23) * 2 ** -149
    // Products near half of the last place.
    const a = (1 + random.integer(0, 4) * 2 ** -23) * 2 ** -75
    checkFma(a, (1 - random.integer(0, 4) * 2 ** -24) * 2 ** -75 * (trial % 2 ? 1 : -1), c)
  }
  checkFma(2 ** -75, 2 ** -75 * (1 + 2 ** -23), 2 ** -127)
  checkFma(2 ** -75, -(2 ** -75) * (1 + 2 ** -23), 2 ** -127)
})

test('fma keeps IEEE infinities, NaN and signed zeros', () => {
  assert.is(fmaRun(3e38, 10, -3e38), inf)
  assert.is(fmaRun(inf, 1, 2), inf)
  assert.ok(Number.isNaN(fmaRun(inf, 1, -inf)))
  assert.ok(Number.isNaN(fmaRun(inf, 0, 1)))
  assert.ok(Object.is(fmaRun(-0, 1, -0), -0))
  assert.ok(Object.is(fmaRun(1, -1, 1), 0))
})

test('min and max ignore one NaN and order zeros', () => {
  for (const operation of ['min', 'max'] as const) {
    const { run } = build(['f32', 'f32'], ['f32'], (w) => {
      minMax(w, operation, w.get(w.args[0]), w.get(w.args[1]))
    })
    assert.is(run(Number.NaN, 3), 3)
    assert.is(run(3, Number.NaN), 3)
    assert.ok(Number.isNaN(run(Number.NaN, Number.NaN)))
    assert.ok(Object.is(run(-0, 0), operation === 'min' ? -0 : 0))
    assert.is(run(2, 5), operation === 'min' ? 2 : 5)
    assert.is(run(-inf, 5), operation === 'min' ? -inf : 5)
  }
})

test('ftz keeps the sign and the smallest normal number; sat clamps', () => {
  const flushed = build(['f32'], ['f32'], (w) => {
    flush(w, w.get(w.args[0]))
  }).run
  assert.is(flushed(2 ** -126), 2 ** -126)
  assert.ok(Object.is(flushed(-(2 ** -127)), -0))
  assert.is(flushed(1.5), 1.5)
  assert.ok(Number.isNaN(flushed(Number.NaN)))
  const clamped = build(['f32'], ['f32'], (w) => {
    clampToUnit(w, w.get(w.args[0]))
  }).run
  assert.equal(
    [-1, 0.25, 7, Number.NaN, inf, -inf].map((x) => clamped(x)),
    [0, 0.25, 1, 0, 1, 0],
  )
})

const formats = { f16: binary16, bf16: bfloat16 } as const

function randomHalf(random: Rng, format: FloatFormat, trial: number): number {
  // Everything, or numbers near each other so that sums cancel and carry.
  if (trial % 2) return random.integer(0, 0xffff)
  const low = format === binary16 ? 0x3800 : 0x3f00
  return random.integer(low, low + 0x7ff) | (random.integer(0, 1) << 15)
}

for (const name of ['f16', 'bf16'] as const) {
  const format = formats[name]
  const value = (word: number, half: number) => valueOfBits((word >>> (16 * half)) & 0xffff, format)
  /** Rounds an exact sum, or applies IEEE rules where an operand is not finite. */
  const rounded = (sum: () => bigint, ieee: number) => (Number.isFinite(ieee) ? nearest(sum(), format) : ieee)

  const models: Record<HalfOperation, (x: number, y: number) => number> = {
    add: (x, y) => rounded(() => exact(x) + exact(y), x + y),
    sub: (x, y) => rounded(() => exact(x) - exact(y), x - y),
    mul: (x, y) => rounded(() => exactProduct(x, y), x * y),
    min: (x, y) => (Number.isNaN(x) ? y : Number.isNaN(y) ? x : Math.min(x, y)),
    max: (x, y) => (Number.isNaN(x) ? y : Number.isNaN(y) ? x : Math.max(x, y)),
    'min.NaN': Math.min,
    'max.NaN': Math.max,
  }
  for (const [operation, model] of Object.entries(models) as [
    HalfOperation,
    (x: number, y: number) => number,
  ][])
    test(`${operation}.${name}x2 rounds each half once`, () => {
      const { run } = build(['i32', 'i32'], ['i32'], (w) => {
        halfBinary(w, name, operation, w.get(w.args[0]), w.get(w.args[1]))
      })
      const random = rng(810)
      for (let trial = 0; trial < 3000; trial++) {
        const word = () => (randomHalf(random, format, trial) << 16) | randomHalf(random, format, trial)
        const [a, b] = [word(), word()]
        const got = run(a, b)
        for (const half of [0, 1]) {
          const [x, y] = [value(a, half), value(b, half)]
          assert.ok(
            Object.is(value(got, half), model(x, y)),
            `${x} ${operation} ${y} gave ${value(got, half)}`,
          )
        }
      }
    })

  test(`fma.rn.${name}x2 rounds each half once`, () => {
    const { run } = build(['i32', 'i32', 'i32'], ['i32'], (w) => {
      halfFma(w, name, w.get(w.args[0]), w.get(w.args[1]), w.get(w.args[2]))
    })
    const relu = build(['i32', 'i32', 'i32'], ['i32'], (w) => {
      halfFma(w, name, w.get(w.args[0]), w.get(w.args[1]), w.get(w.args[2]), true)
    })
    const random = rng(811)
    for (let trial = 0; trial < 8000; trial++) {
      const word = () => (randomHalf(random, format, trial) << 16) | randomHalf(random, format, trial)
      const [a, b, c] = [word(), word(), word()]
      const got = run(a, b, c)
      const gotRelu = relu.run(a, b, c)
      for (const half of [0, 1]) {
        const [x, y, z] = [value(a, half), value(b, half), value(c, half)]
        const want = rounded(() => exactProduct(x, y) + exact(z), x * y + z)
        assert.ok(
          Object.is(value(got, half), want),
          `${x} * ${y} + ${z} gave ${value(got, half)}, not ${want}`,
        )
        assert.ok(Object.is(value(gotRelu, half), Number.isNaN(want) ? want : Math.max(0, want)))
      }
    }
  })
}

/** Error in units of the last place of the f32 nearest to `want`. */
function ulps(got: number, want: number): number {
  const near = Math.fround(want)
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(near))))
  return Math.abs(got - want) / 2 ** (exponent - 23)
}

const references: Record<Approximation, { f: (x: number) => number; sample: (random: Rng) => number }> = {
  // No multiples of 2^-12, some of which have the hardware's results.
  ex2: { f: (x) => 2 ** x, sample: (random) => (2 * random.integer(-512_000, 512_000) + 1) * 2 ** -13 },
  lg2: { f: Math.log2, sample: (random) => 2 ** (random.normal() * 30) },
  rcp: { f: (x) => 1 / x, sample: (random) => random.normal() * 2 ** random.integer(-60, 60) },
  rsqrt: { f: (x) => 1 / Math.sqrt(x), sample: (random) => 2 ** (random.normal() * 30) },
  sqrt: { f: Math.sqrt, sample: (random) => 2 ** (random.normal() * 30) },
  tanh: { f: Math.tanh, sample: (random) => random.normal() * 10 ** random.integer(-6, 1) },
  sin: { f: Math.sin, sample: (random) => random.normal() * 10 ** random.integer(-4, 5) },
  cos: { f: Math.cos, sample: (random) => random.normal() * 10 ** random.integer(-4, 5) },
}
for (const [name, { f, sample }] of Object.entries(references) as [Approximation, typeof references.ex2][])
  test(`${name}.approx is within 0.51 ulp`, () => {
    const { run } = build(['f32'], ['f32'], (w) => {
      approximate(w, name, w.get(w.args[0]))
    })
    const random = rng(820)
    let worst = 0
    for (let trial = 0; trial < 20_000; trial++) {
      const x = Math.fround(sample(random))
      const want = f(x)
      if (want === 0 || !Number.isFinite(Math.fround(want))) continue
      worst = Math.max(worst, ulps(run(x), want))
    }
    assert.ok(worst <= 0.51, `${worst} ulp`)
  })

test('approximations have the special values of the manual', () => {
  const f = (name: Approximation, ftz = false) =>
    build(['f32'], ['f32'], (w) => {
      approximate(w, name, w.get(w.args[0]), ftz)
    }).run
  const table: [Approximation, number, number][] = [
    ['ex2', -inf, 0],
    ['ex2', inf, inf],
    ['ex2', -0, 1],
    ['ex2', 130, inf],
    ['ex2', -200, 0],
    ['ex2', 10, 1024],
    ['lg2', 0, -inf],
    ['lg2', -0, -inf],
    ['lg2', -1, Number.NaN],
    ['lg2', inf, inf],
    ['lg2', 1, 0],
    ['lg2', 0.125, -3],
    ['rcp', -0, -inf],
    ['rcp', inf, 0],
    ['rsqrt', 0, inf],
    ['rsqrt', -0, -inf],
    ['rsqrt', -2, Number.NaN],
    ['rsqrt', inf, 0],
    ['sqrt', -0, -0],
    ['tanh', inf, 1],
    ['tanh', -inf, -1],
    ['tanh', -0, -0],
    ['sin', -0, -0],
    ['sin', inf, Number.NaN],
    ['cos', 0, 1],
  ]
  for (const [name, x, want] of table)
    assert.ok(Object.is(f(name)(x), want), `${name}(${x}) gave ${f(name)(x)}, not ${want}`)
  for (const name of Object.keys(references) as Approximation[])
    assert.ok(Number.isNaN(f(name)(Number.NaN)), name)
  const tiny = 2 ** -140
  assert.is(f('ex2')(-140), tiny)
  assert.is(f('ex2', true)(-140), 0)
  assert.is(f('lg2')(tiny), -140)
  assert.is(f('lg2', true)(tiny), -inf)
  assert.is(f('rcp', true)(-tiny), -inf)
  assert.is(f('rcp')(2 ** 127), 2 ** -127)
  assert.is(f('rcp', true)(2 ** 127), 0)
  assert.ok(Math.abs(f('sin')(1e30)) <= 1)
})

test('a half function applies to both halves', () => {
  const { run } = build(['i32'], ['i32'], (w) => {
    halfMap(w, 'f16', 'ex2.approx', (inner, x) => approximate(inner, 'ex2', x), w.get(w.args[0]))
  })
  // 2^3 above 2^-2.
  assert.is(run((0x4200 << 16) | 0xc000) >>> 0, ((0x4800 << 16) | 0x3400) >>> 0)
})

test('dp4a sums products of bytes for all four pairs of signs', () => {
  const random = rng(832)
  const byte = (word: number, i: number, sign: DotSign) =>
    sign === 's32' ? ((word >> (8 * i)) << 24) >> 24 : (word >>> (8 * i)) & 0xff
  for (const aSign of ['s32', 'u32'] as const)
    for (const bSign of ['s32', 'u32'] as const) {
      const { run } = build(['i32', 'i32', 'i32'], ['i32'], (w) => {
        dotBytes(w, aSign, bSign, w.get(w.args[0]), w.get(w.args[1]), w.get(w.args[2]))
      })
      for (let trial = 0; trial < 200; trial++) {
        const extremes = [0xffffffff, 0x80808080, 0x7f7f7f7f]
        const word = () => (trial < 9 ? extremes[random.integer(0, 2)]! : random.integer(0, 2 ** 32 - 1))
        const [a, b, c] = [word(), word(), random.integer(0, 2 ** 32 - 1)]
        let want = c
        for (let i = 0; i < 4; i++) want += byte(a, i, aSign) * byte(b, i, bSign)
        assert.is(run(a, b, c) | 0, want | 0, `${aSign} ${bSign} ${a} ${b}`)
      }
    }
})

test.run()
