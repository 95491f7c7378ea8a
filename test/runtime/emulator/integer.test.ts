import { test } from 'uvu'
import { type Case, type Kind, testInstructions } from './evaluate.ts'

const bits = { u16: 16, s16: 16, u32: 32, s32: 32, u64: 64, s64: 64 } as const
type Integer = keyof typeof bits
const wrap = (type: Integer, x: bigint): bigint =>
  type.startsWith('s') ? BigInt.asIntN(bits[type], x) : BigInt.asUintN(bits[type], x)

function binary(
  op: string,
  types: readonly Integer[],
  f: (a: bigint, b: bigint, bits: number) => bigint,
): Case[] {
  return types.map((type) => ({
    text: `${op}.${type} %d, %a, %b;`,
    inputs: [type, type],
    output: type,
    reference: (a, b) => f(BigInt(a), BigInt(b), bits[type]),
  }))
}

const all: readonly Integer[] = ['u16', 's16', 'u32', 's32', 'u64', 's64']
const sorted = (a: bigint, b: bigint): [bigint, bigint] => (a < b ? [a, b] : [b, a])
const abs = (x: bigint): bigint => (x < 0n ? -x : x)
const bitwise = (op: string, f: (a: bigint, b: bigint) => bigint): Case[] =>
  (['u16', 'u32', 'u64'] as const).map((type) => ({
    text: `${op}.b${bits[type]} %d, %a, %b;`,
    inputs: [type, type],
    output: type,
    reference: (a, b) => f(BigInt(a), BigInt(b)),
  }))

const shifts: Case[] = (['u16', 'u32', 'u64'] as const).flatMap((type): Case[] => {
  const n = bits[type]
  const counts = Array.from({ length: 70 }, (_, i) => i)
  const signed = `s${n}` as Integer
  const cases: Case[] = [
    {
      text: `shl.b${n} %d, %a, %b;`,
      inputs: [type, 'u32'],
      output: type,
      reference: (a, b) => (b >= n ? 0n : BigInt(a) << BigInt(b)),
    },
    {
      text: `shr.u${n} %d, %a, %b;`,
      inputs: [type, 'u32'],
      output: type,
      reference: (a, b) => BigInt(a) >> BigInt(b),
    },
    {
      text: `shr.s${n} %d, %a, %b; add.s${n} %d, %d, 0;`,
      inputs: [signed, 'u32'],
      output: signed,
      reference: (a, b) => BigInt(a) >> BigInt(b),
    },
    ...[0, 1, n - 1, n, n + 3].flatMap((count): Case[] => [
      {
        text: `shl.b${n} %d, %a, ${count};`,
        inputs: [type],
        output: type,
        reference: (a) => BigInt(a) << BigInt(count),
      },
      {
        text: `shr.s${n} %d, %a, ${count};`,
        inputs: [signed],
        output: signed,
        reference: (a) => BigInt(a) >> BigInt(count),
      },
      {
        text: `shr.u${n} %d, %a, ${count};`,
        inputs: [type],
        output: type,
        reference: (a) => BigInt(a) >> BigInt(count),
      },
    ]),
  ]
  return cases.map((c) => (c.inputs.length === 2 ? { ...c, operands: [operands(c.inputs[0]!), counts] } : c))
})

function operands(kind: Kind): (number | bigint)[] {
  const n = BigInt(bits[kind as Integer])
  return [1n, (1n << n) - 1n, 1n << (n - 1n), 0x1234567887654321n, 0x0123456789abcdefn].map((x) => {
    const value = wrap(kind as Integer, x)
    return n === 64n ? value : Number(value)
  })
}

/** PTX manual, "Integer Arithmetic Instructions: bfe", in its own terms. */
function bfe(signed: boolean, width: number, a: bigint, pos: number, len: number): bigint {
  pos &= 0xff
  len &= 0xff
  const msb = width - 1
  const bit = (i: number): bigint => (BigInt.asUintN(width, a) >> BigInt(i)) & 1n
  const sbit = !signed || len === 0 ? 0n : bit(Math.min(pos + len - 1, msb))
  let d = 0n
  for (let i = 0; i <= msb; i++) d |= (i < len && pos + i <= msb ? bit(pos + i) : sbit) << BigInt(i)
  return d
}
function bfi(width: number, a: bigint, b: bigint, pos: number, len: number): bigint {
  let f = BigInt.asUintN(width, b)
  for (let i = 0; i < len && pos + i < width; i++) {
    const at = BigInt(pos + i)
    f = (f & ~(1n << at)) | (((a >> BigInt(i)) & 1n) << at)
  }
  return f
}

const reverse = (x: bigint, width: number): bigint =>
  BigInt(`0b${BigInt.asUintN(width, x).toString(2).padStart(width, '0').split('').reverse().join('')}`)
const leadingZeros = (x: bigint, width: number): number => (x === 0n ? width : width - x.toString(2).length)
const popCount = (x: bigint): number => x.toString(2).replace(/0/g, '').length

const fields: Case[] = [
  ...(['u32', 's32', 'u64', 's64'] as const).map(
    (type): Case => ({
      text: `and.b32 %r1, %b, 127; shr.u32 %r2, %b, 7; and.b32 %r2, %r2, 127; bfe.${type} %d, %a, %r1, %r2;`,
      inputs: [type, 'u32'],
      output: type,
      reference: (a, b) => bfe(type[0] === 's', bits[type], BigInt(a), b & 127, (b >>> 7) & 127),
    }),
  ),
  ...(['u32', 's32'] as const).flatMap((type) =>
    [
      [0, 4],
      [28, 4],
      [5, 32],
      [0, 32],
      [7, 0],
      [40, 2],
    ].map(
      ([pos, len]): Case => ({
        text: `bfe.${type} %d, %a, ${pos}, ${len};`,
        inputs: [type],
        output: type,
        reference: (a) => bfe(type[0] === 's', 32, BigInt(a), pos!, len!),
      }),
    ),
  ),
  ...(['u32', 'u64'] as const).map(
    (type): Case => ({
      text: `and.b32 %r1, %c, 127; shr.u32 %r2, %c, 7; and.b32 %r2, %r2, 127; bfi.b${bits[type]} %d, %a, %b, %r1, %r2;`,
      inputs: [type, type, 'u32'],
      output: type,
      reference: (a, b, c) => bfi(bits[type], BigInt(a), BigInt(b), c & 127, (c >>> 7) & 127),
    }),
  ),
]

const counting: Case[] = (['u32', 'u64'] as const).flatMap((type): Case[] => {
  const n = bits[type]
  const one = (op: string, f: (x: bigint) => number | bigint, output: Kind): Case => ({
    text: `${op}.b${n} %d, %a;`,
    inputs: [type],
    output,
    reference: (a) => f(BigInt(a)),
  })
  return [
    one('popc', popCount, 'u32'),
    one('clz', (x) => leadingZeros(x, n), 'u32'),
    one('brev', (x) => reverse(x, n), type),
    one('not', (x) => ~x, type),
  ]
})

const bytes = (x: number): number[] => [0, 8, 16, 24].map((shift) => (x >>> shift) & 0xff)
const signedByte = (x: number): number => (x << 24) >> 24
function prmt(a: number, b: number, selector: number): number {
  const all = [...bytes(a), ...bytes(b)]
  let d = 0
  for (let i = 0; i < 4; i++) {
    const nibble = (selector >>> (4 * i)) & 15
    const byte = all[nibble & 7]!
    d |= (nibble & 8 ? (byte & 0x80 ? 0xff : 0) : byte) << (8 * i)
  }
  return d >>> 0
}
const lop3 = (a: number, b: number, c: number, table: number): number => {
  let d = 0
  for (let i = 0; i < 32; i++) {
    const index = 4 * ((a >>> i) & 1) + 2 * ((b >>> i) & 1) + ((c >>> i) & 1)
    d |= ((table >>> index) & 1) << i
  }
  return d >>> 0
}

const words: Case[] = [
  ...[0x5410, 0x7632, 0x3210, 0x7654, 0x4321, 0x0123, 0x9811, 0xfb73, 0x4140].map(
    (selector): Case => ({
      text: `prmt.b32 %d, %a, %b, ${selector};`,
      inputs: ['u32', 'u32'],
      output: 'u32',
      reference: (a, b) => prmt(a, b, selector),
    }),
  ),
  { text: 'prmt.b32 %d, %a, %b, %c;', inputs: ['u32', 'u32', 'u32'], output: 'u32', reference: prmt },
  ...Array.from(
    { length: 256 },
    (_, table): Case => ({
      text: `lop3.b32 %d, %a, %b, %c, ${table};`,
      inputs: ['u32', 'u32', 'u32'],
      output: 'u32',
      reference: (a, b, c) => lop3(a, b, c, table),
    }),
  ),
  ...(['l', 'r'] as const).flatMap((direction) =>
    (['clamp', 'wrap'] as const).map(
      (mode): Case => ({
        text: `shf.${direction}.${mode}.b32 %d, %a, %b, %c;`,
        inputs: ['u32', 'u32', 'u32'],
        output: 'u32',
        reference: (a, b, c) => {
          const n = BigInt(mode === 'wrap' ? c & 31 : Math.min(c, 32))
          const pair = (BigInt(b) << 32n) | BigInt(a)
          return direction === 'r' ? pair >> n : BigInt.asUintN(64, pair << n) >> 32n
        },
        operands: [
          operands('u32'),
          operands('u32').reverse().slice(1),
          [0, 1, 7, 31, 32, 33, 64, 0xffffffff],
        ],
      }),
    ),
  ),
  ...(['u32', 's32'] as const).flatMap((aType) =>
    (['u32', 's32'] as const).map(
      (bType): Case => ({
        text: `dp4a.${aType}.${bType} %d, %a, %b, %c;`,
        inputs: ['u32', 'u32', 's32'],
        output: 's32',
        reference: (a, b, c) => {
          const x = bytes(a).map((v) => (aType === 's32' ? signedByte(v) : v))
          const y = bytes(b).map((v) => (bType === 's32' ? signedByte(v) : v))
          return x.reduce((sum, v, i) => sum + v * y[i]!, c)
        },
      }),
    ),
  ),
]

const multiplication: Case[] = all.flatMap((type): Case[] => {
  const n = BigInt(bits[type])
  const cases: Case[] = [
    {
      text: `mul.lo.${type} %d, %a, %b;`,
      inputs: [type, type],
      output: type,
      reference: (a, b) => BigInt(a) * BigInt(b),
    },
    {
      text: `mul.hi.${type} %d, %a, %b;`,
      inputs: [type, type],
      output: type,
      reference: (a, b) => (BigInt(a) * BigInt(b)) >> n,
    },
    {
      text: `mad.lo.${type} %d, %a, %b, %c;`,
      inputs: [type, type, type],
      output: type,
      reference: (a, b, c) => BigInt(a) * BigInt(b) + BigInt(c),
    },
  ]
  if (n === 64n) return cases
  const wide = `${type[0]}${2n * n}` as 'u32' | 's32' | 'u64' | 's64'
  return [
    ...cases,
    {
      text: `mul.wide.${type} %d, %a, %b;`,
      inputs: [type, type],
      output: wide,
      reference: (a, b) => BigInt(a) * BigInt(b),
    },
    {
      text: `mad.wide.${type} %d, %a, %b, %c;`,
      inputs: [type, type, wide],
      output: wide,
      reference: (a, b, c) => BigInt(a) * BigInt(b) + BigInt(c),
    },
  ]
})

const halves = (x: number, signed: boolean): number[] =>
  [x & 0xffff, x >>> 16].map((half) => (signed ? (half << 16) >> 16 : half))
const packed: Case[] = (['u16x2', 's16x2'] as const).flatMap((type) =>
  (
    [
      ['add', (a: number, b: number) => a + b],
      ['min', Math.min],
      ['max', Math.max],
    ] as const
  ).map(
    ([op, f]): Case => ({
      text: `${op}.${type} %d, %a, %b;`,
      inputs: ['u32', 'u32'],
      output: 'u32',
      reference: (a, b) => {
        const [x, y] = [halves(a, type[0] === 's'), halves(b, type[0] === 's')]
        return (f(x[0]!, y[0]!) & 0xffff) + (f(x[1]!, y[1]!) & 0xffff) * 65536
      },
    }),
  ),
)

const comparisons: Case[] = all.flatMap((type) =>
  (['eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const).map(
    (cmp): Case => ({
      text: `setp.${cmp}.${type} %d, %a, %b;`,
      inputs: [type, type],
      output: 'pred',
      reference: (a, b) => ({ eq: a === b, ne: a !== b, lt: a < b, le: a <= b, gt: a > b, ge: a >= b })[cmp],
      operands: [operands(type), [...operands(type), ...operands(type).slice(2)]],
    }),
  ),
)

testInstructions([
  ...binary('add', all, (a, b) => a + b),
  ...binary('sub', all, (a, b) => a - b),
  ...binary('min', all, (a, b) => sorted(a, b)[0]),
  ...binary('max', all, (a, b) => sorted(a, b)[1]),
  // PTX leaves division by zero open; these are the emulator's choices.
  ...binary('div', all, (a, b) => (b === 0n ? -1n : a / b)),
  ...binary('rem', all, (a, b) => (b === 0n ? a : a % b)),
  ...bitwise('and', (a, b) => a & b),
  ...bitwise('or', (a, b) => a | b),
  ...bitwise('xor', (a, b) => a ^ b),
  ...(['s16', 's32', 's64'] as const).flatMap((type): Case[] => [
    { text: `neg.${type} %d, %a;`, inputs: [type], output: type, reference: (a) => -BigInt(a) },
    { text: `abs.${type} %d, %a;`, inputs: [type], output: type, reference: (a) => abs(BigInt(a)) },
  ]),
  ...(['add', 'sub'] as const).map(
    (op): Case => ({
      text: `${op}.sat.s32 %d, %a, %b;`,
      inputs: ['s32', 's32'],
      output: 's32',
      reference: (a, b) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, op === 'add' ? a + b : a - b)),
    }),
  ),
  ...multiplication,
  ...shifts,
  ...fields,
  ...counting,
  ...words,
  ...packed,
  ...comparisons,
  {
    text: 'setp.lo.and.u32 %d, %a, %b, %c;',
    inputs: ['u32', 'u32', 'pred'],
    output: 'pred',
    reference: (a, b, c) => a < b && c === 1,
  },
  {
    text: 'setp.hs.xor.u32 %d|%p1, %a, %b, !%c; xor.pred %d, %d, %p1;',
    inputs: ['u32', 'u32', 'pred'],
    output: 'pred',
    reference: () => true,
  },
  {
    text: 'setp.gt.or.s32 %p1|%d, %a, %b, %c;',
    inputs: ['s32', 's32', 'pred'],
    output: 'pred',
    reference: (a, b, c) => !(a > b) || c === 1,
  },
  {
    text: 'selp.b64 %d, %a, %b, %c;',
    inputs: ['u64', 'u64', 'pred'],
    output: 'u64',
    reference: (a, b, c) => (c ? a : b),
  },
  {
    text: 'selp.b16 %d, %a, %b, %c;',
    inputs: ['u16', 'u16', 'pred'],
    output: 'u16',
    reference: (a, b, c) => (c ? a : b),
  },
  {
    text: 'and.pred %d, %a, %b; not.pred %d, %d; or.pred %d, %d, %a;',
    inputs: ['pred', 'pred'],
    output: 'pred',
    reference: (a, b) => !(a && b) || a === 1,
  },
  {
    text: 'mov.u32 %d, %a; @%c mov.u32 %d, %b; @!%c add.u32 %d, %d, 5;',
    inputs: ['u32', 'u32', 'pred'],
    output: 'u32',
    reference: (a, b, c) => (c ? b : a + 5),
  },
  {
    text: 'mov.u32 %d, 7; @%c div.u32 %d, %a, %b;',
    inputs: ['u32', 'u32', 'pred'],
    output: 'u32',
    reference: (a, b, c) => (c ? (b === 0 ? -1 : Math.floor(a / b)) : 7),
  },
  {
    text: 'mov.b32 {%h1, %h2}, %a; mov.b32 %d, {%h2, %h1};',
    inputs: ['u32'],
    output: 'u32',
    reference: (a) => ((a << 16) | (a >>> 16)) >>> 0,
  },
  {
    text: 'mov.b64 {%r1, %r2}, %a; mov.b64 %d, {%r2, %r1};',
    inputs: ['u64'],
    output: 'u64',
    reference: (a) => (a >> 32n) | (a << 32n),
  },
  {
    text: 'mov.b64 {%h1, %h2, %h3, %h4}, %a; mov.b64 %d, {%h4, %h3, %h2, %h1};',
    inputs: ['u64'],
    output: 'u64',
    reference: (a) => [0n, 16n, 32n, 48n].reduce((x, s) => (x << 16n) | ((a >> s) & 0xffffn), 0n),
  },
  {
    text: 'mov.b64 {_, %d}, %a;',
    inputs: ['u64'],
    output: 'u32',
    reference: (a) => a >> 32n,
  },
])

test.run()
