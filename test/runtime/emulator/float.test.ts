import { test } from 'uvu'
import { bf16Bits, bf16Value, f16Bits, f16Value } from '../../../dsl/half.ts'
import { type Case, type Kind, testInstructions } from './evaluate.ts'

const { fround } = Math
const clamp = (x: number): number => (x > 0 ? Math.min(x, 1) : 0)
const flush = (x: number): number => (Math.abs(x) < 2 ** -126 ? x * 0 : x)
const isNan = Number.isNaN
const min = (a: number, b: number): number => (isNan(a) ? b : isNan(b) ? a : Math.min(a, b))
const max = (a: number, b: number): number => (isNan(a) ? b : isNan(b) ? a : Math.max(a, b))

const single = (op: string, f: (a: number, b: number, c: number) => number, operands = 2): Case => ({
  text: `${op} %d, ${['%a', '%b', '%c'].slice(0, operands).join(', ')};`,
  inputs: Array<Kind>(operands).fill('f32'),
  output: 'f32',
  reference: f,
})

const arithmetic: Case[] = [
  single('add.f32', (a, b) => a + b),
  single('sub.rn.f32', (a, b) => a - b),
  single('mul.f32', (a, b) => a * b),
  single('mul.ftz.f32', (a, b) => flush(fround(flush(a) * flush(b)))),
  single('add.ftz.f32', (a, b) => flush(fround(flush(a) + flush(b)))),
  single('add.sat.f32', (a, b) => clamp(a + b)),
  single('mul.sat.f32', (a, b) => clamp(a * b)),
  single('div.rn.f32', (a, b) => a / b),
  single('div.approx.f32', (a, b) => a / b),
  single('div.full.f32', (a, b) => a / b),
  // In f64 the product is exact; where the sum is not, one in 2^29 results may differ from a single rounding.
  single('fma.rn.f32', (a, b, c) => a * b + c, 3),
  single('fma.rn.sat.f32', (a, b, c) => clamp(a * b + c), 3),
  single('min.f32', min),
  single('max.f32', max),
  single('min.NaN.f32', (a, b) => (isNan(a) || isNan(b) ? Number.NaN : Math.min(a, b))),
  single('max.NaN.f32', (a, b) => (isNan(a) || isNan(b) ? Number.NaN : Math.max(a, b))),
  single('neg.f32', (a) => -a, 1),
  single('abs.f32', (a) => Math.abs(a), 1),
  single('copysign.f32', (a, b) => (a < 0 || Object.is(a, -0) ? -Math.abs(b) : Math.abs(b))),
  single('rcp.rn.f32', (a) => 1 / a, 1),
  single('sqrt.rn.f32', (a) => Math.sqrt(a), 1),
].map((c) =>
  c.text.startsWith('copysign')
    ? {
        ...c,
        operands: [
          [-1, 2, -0, 0],
          [3, -4, 5.5],
        ],
      }
    : c,
)

const near = (op: string, f: (a: number) => number, operands?: readonly number[]): Case => ({
  ...single(op, f, 1),
  // The manual allows a relative error of 2^-22 or so; the emulator rounds once.
  relative: 2 ** -22,
  ...(operands ? { operands: [operands] } : {}),
})
const modest = Array.from({ length: 200 }, (_, i) => fround((i - 100) * 0.37))
const approximate: Case[] = [
  near('ex2.approx.f32', (a) => 2 ** a),
  near('ex2.approx.ftz.f32', (a) => flush(fround(2 ** a))),
  near('lg2.approx.f32', (a) => Math.log2(a)),
  near('rcp.approx.f32', (a) => 1 / a),
  near('rcp.approx.ftz.f32', (a) => flush(1 / flush(a))),
  near('rsqrt.approx.f32', (a) => 1 / Math.sqrt(a)),
  near('sqrt.approx.f32', (a) => Math.sqrt(a)),
  near('sin.approx.f32', (a) => Math.sin(a), modest),
  near('cos.approx.f32', (a) => Math.cos(a), modest),
  near('tanh.approx.f32', (a) => Math.tanh(a), modest),
]

const doubles: Case[] = (['add', 'sub', 'mul', 'div'] as const).map((op) => ({
  text: `${op}.rn.f64 %d, %a, %b;`,
  inputs: ['f64', 'f64'],
  output: 'f64',
  reference: (a, b) => ({ add: a + b, sub: a - b, mul: a * b, div: a / b })[op],
}))

const formats = {
  f16: { value: f16Value, bits: f16Bits },
  bf16: { value: bf16Value, bits: bf16Bits },
} as const
/** A NaN result has the canonical bits. */
const canonical = (bits: number, value: number): number => (isNan(value) ? 0x7fff : bits)

const halves: Case[] = (['f16', 'bf16'] as const).flatMap((type) => {
  const { value, bits } = formats[type]
  const operations: [string, number, (a: number, b: number, c: number) => number][] = [
    ['add.rn', 2, (a, b) => a + b],
    ['sub.rn', 2, (a, b) => a - b],
    ['mul.rn', 2, (a, b) => a * b],
    // The sum of the exact product and c is exact in f64 for operands of this size.
    ['fma.rn', 3, (a, b, c) => a * b + c],
    ['min', 2, min],
    ['max', 2, max],
    ['max.NaN', 2, (a, b) => (isNan(a) || isNan(b) ? Number.NaN : Math.max(a, b))],
  ]
  const names = ['%a', '%b', '%c']
  return operations.flatMap(([op, count, f]): Case[] => {
    const rounded = (operands: readonly number[]): number => {
      const [a, b, c] = operands.map((x) => value(x & 0xffff))
      const result = f(a!, b!, c!)
      return canonical(bits(result), result)
    }
    const values = [
      0,
      -0,
      1,
      -1,
      0.333,
      5.25,
      -7.125,
      100.5,
      1e-3,
      -2e-7,
      3000,
      Infinity,
      -Infinity,
      Number.NaN,
    ]
    const list = (shift: number): number[] =>
      values.map((_, i) => bits(values[(i * (shift + 1) + shift) % values.length]!))
    const pairs = (shift: number): number[] =>
      list(shift).map((low, i, all) => (low | (all[(i + 3) % all.length]! << 16)) >>> 0)
    return [
      {
        text: `${op}.${type} %d, ${names.slice(0, count).join(', ')};`,
        inputs: Array<Kind>(count).fill('half'),
        output: 'half',
        operands: [list(0), list(2), list(4)],
        reference: (...operands: number[]) => rounded(operands.slice(0, count)),
      },
      {
        text: `${op}.${type}x2 %d, ${names.slice(0, count).join(', ')};`,
        inputs: Array<Kind>(count).fill('pair'),
        output: 'pair',
        operands: [pairs(0), pairs(2), pairs(4)],
        reference: (...operands: number[]) => {
          const used = operands.slice(0, count)
          return rounded(used) + rounded(used.map((x) => x >>> 16)) * 65536
        },
      },
    ]
  })
})

const halfUnary: Case[] = [
  { text: 'neg.f16x2 %d, %a;', inputs: ['pair'], output: 'pair', reference: (a) => (a ^ 0x80008000) >>> 0 },
  { text: 'abs.bf16 %d, %a;', inputs: ['half'], output: 'half', reference: (a) => a & 0x7fff },
  {
    text: 'ex2.approx.f16x2 %d, %a;',
    inputs: ['pair'],
    output: 'pair',
    operands: [[0x3c00c000, 0x00004200, 0x38003800]],
    reference: (a) => f16Bits(2 ** f16Value(a & 0xffff)) + f16Bits(2 ** f16Value(a >>> 16)) * 65536,
  },
]

const compare: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b && !isNan(a) && !isNan(b),
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
  equ: (a, b) => a === b || isNan(a) || isNan(b),
  neu: (a, b) => !(a === b),
  ltu: (a, b) => !(a >= b),
  leu: (a, b) => !(a > b),
  gtu: (a, b) => !(a <= b),
  geu: (a, b) => !(a < b),
  num: (a, b) => !isNan(a) && !isNan(b),
  nan: (a, b) => isNan(a) || isNan(b),
}
const sample = [0, -0, 1, -1, 2.5, Number.NaN, Infinity, -Infinity]
const comparisons: Case[] = Object.entries(compare).flatMap(([cmp, reference]): Case[] => [
  {
    text: `setp.${cmp}.f32 %d, %a, %b;`,
    inputs: ['f32', 'f32'],
    output: 'pred',
    operands: [sample, [...sample, 3]],
    reference,
  },
  {
    text: `setp.${cmp}.f16 %d, %a, %b;`,
    inputs: ['half', 'half'],
    output: 'pred',
    operands: [sample.map(f16Bits), [...sample, 3].map(f16Bits)],
    reference: (a, b) => reference(f16Value(a), f16Value(b)),
  },
])

testInstructions([
  ...arithmetic,
  ...approximate,
  ...doubles,
  ...halves,
  ...halfUnary,
  ...comparisons,
  {
    text: 'mov.f32 %d, 0f3FC00000; @%b mov.f32 %d, %a;',
    inputs: ['f32', 'pred'],
    output: 'f32',
    reference: (a, b) => (b ? a : 1.5),
  },
  {
    text: 'selp.f32 %d, %a, 0fBF800000, %b;',
    inputs: ['f32', 'pred'],
    output: 'f32',
    reference: (a, b) => (b ? a : -1),
  },
])

test.run()
