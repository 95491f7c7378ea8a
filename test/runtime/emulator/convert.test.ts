import { test } from 'uvu'
import { bf16Bits, bf16Value, f16Bits, f16Value } from '../../../dsl/half.ts'
import { type Case, type Kind, testInstructions } from './evaluate.ts'

const integers = ['u8', 's8', 'u16', 's16', 'u32', 's32', 'u64', 's64'] as const
type Integer = (typeof integers)[number]
const width = (type: Integer): number => Number(type.slice(1))
const isSigned = (type: Integer): boolean => type.startsWith('s')
const low = (type: Integer): bigint => (isSigned(type) ? -(1n << BigInt(width(type) - 1)) : 0n)
const high = (type: Integer): bigint => (1n << BigInt(width(type) - Number(isSigned(type)))) - 1n
const clamp = (type: Integer, x: bigint): bigint =>
  x < low(type) ? low(type) : x > high(type) ? high(type) : x

const betweenIntegers: Case[] = integers.flatMap((from) =>
  integers.flatMap((to): Case[] => {
    const plain: Case = {
      text: `cvt.${to}.${from} %d, %a;`,
      inputs: [from],
      output: to,
      reference: (a) => BigInt(a),
    }
    // The assembler refuses .sat where every value fits.
    if (low(from) >= low(to) && high(from) <= high(to)) return [plain]
    return [
      plain,
      { ...plain, text: `cvt.sat.${to}.${from} %d, %a;`, reference: (a) => clamp(to, BigInt(a)) },
    ]
  }),
)

const even = (x: number): number => {
  const floor = Math.floor(x)
  const rest = x - floor
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1
}
const roundings = { rni: even, rzi: Math.trunc, rmi: Math.floor, rpi: Math.ceil } as const

function integerOf(type: Integer, x: number): bigint {
  if (Number.isNaN(x)) return width(type) === 64 ? 1n << 63n : 0n
  if (x === Infinity) return high(type)
  if (x === -Infinity) return low(type)
  return clamp(type, BigInt(x))
}

const floatsToIntegers: Case[] = integers.flatMap((to) =>
  Object.entries(roundings).map(
    ([rounding, round]): Case => ({
      text: `cvt.${rounding}.${to}.f32 %d, %a;`,
      inputs: ['f32'],
      output: to,
      reference: (a: number) => integerOf(to, round(a)),
    }),
  ),
)

const integersToFloats: Case[] = integers.flatMap((from) =>
  (['f32', 'f64'] as const).map(
    (to): Case => ({
      text: `cvt.rn.${to}.${from} %d, %a;`,
      inputs: [from],
      output: to,
      // f32 of a 64-bit integer rounds once: numbers of f64 precision are taken.
      operands: [
        [0, 1, 2 ** 24 + 1, -1, -3, 2 ** 31 - 1, 2 ** 40 + 2 ** 16 + 1, 77, 255, 40000].map((x) =>
          width(from) === 64
            ? BigInt.asUintN(64, BigInt(x))
            : Number(
                isSigned(from)
                  ? BigInt.asIntN(width(from), BigInt(x))
                  : BigInt.asUintN(width(from), BigInt(x)),
              ),
        ),
      ],
      reference: (a) => {
        const exact = Number(isSigned(from) ? BigInt.asIntN(width(from), BigInt(a)) : BigInt(a))
        return to === 'f32' ? Math.fround(exact) : exact
      },
    }),
  ),
)

const canonical = (bits: number, value: number): number => (Number.isNaN(value) ? 0x7fff : bits)
const everyHalf = Array.from({ length: 512 }, (_, i) => (i * 12713 + 77) & 0xffff)
const halves: Case[] = (
  [
    ['f16', f16Bits, f16Value],
    ['bf16', bf16Bits, bf16Value],
  ] as const
).flatMap(([type, bits, value]): Case[] => [
  {
    text: `cvt.rn.${type}.f32 %d, %a;`,
    inputs: ['f32'],
    output: 'half',
    reference: (a) => canonical(bits(a), a),
  },
  {
    text: `cvt.f32.${type} %d, %a;`,
    inputs: ['half'],
    output: 'f32',
    operands: [everyHalf],
    reference: (a) => value(a),
  },
  {
    text: `cvt.rn.${type}x2.f32 %d, %a, %b;`,
    inputs: ['f32', 'f32'],
    output: 'pair',
    reference: (a, b) => canonical(bits(b), b) + canonical(bits(a), a) * 65536,
  },
])

testInstructions([
  ...betweenIntegers,
  ...floatsToIntegers,
  ...integersToFloats,
  ...halves,
  ...Object.entries(roundings).map(
    ([rounding, round]): Case => ({
      text: `cvt.${rounding}.f32.f32 %d, %a;`,
      inputs: ['f32'],
      output: 'f32',
      reference: (a: number) => (round(a) === 0 && (a < 0 || Object.is(a, -0)) ? -0 : round(a)),
    }),
  ),
  {
    text: 'cvt.sat.f32.f32 %d, %a;',
    inputs: ['f32'],
    output: 'f32',
    reference: (a) => (a > 0 ? Math.min(a, 1) : 0),
  },
  {
    text: 'cvt.rn.f16.s32 %d, %a;',
    inputs: ['s32'],
    output: 'half',
    operands: [[0, 1, -1, 2047, 2049, 2051, 65519, 65520, -70000, 4097, 12345]],
    reference: (a) => f16Bits(a),
  },
  {
    text: 'cvt.rzi.s32.f16 %d, %a;',
    inputs: ['half'],
    output: 's32',
    operands: [everyHalf],
    reference: (a) => integerOf('s32', Math.trunc(f16Value(a))),
  },
  { text: 'cvt.f64.f32 %d, %a;', inputs: ['f32'], output: 'f64', reference: (a) => a },
  { text: 'cvt.rn.f32.f64 %d, %a;', inputs: ['f64'], output: 'f32', reference: (a) => a },
  // A result may go to a wider register: it is extended by its sign.
  {
    text: 'cvt.s8.s32 %d, %a;',
    inputs: ['s32'],
    output: 's32',
    reference: (a) => BigInt.asIntN(8, BigInt(a)),
  },
  {
    text: 'cvt.u8.s32 %d, %a;',
    inputs: ['s32'],
    output: 'u32',
    reference: (a) => BigInt.asUintN(8, BigInt(a)),
  },
  {
    text: 'cvt.rni.sat.s8.f32 %d, %a;',
    inputs: ['f32'],
    output: 's32' satisfies Kind,
    reference: (a) => integerOf('s8', even(a)),
  },
])

test.run()
