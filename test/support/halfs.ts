import { bf16Bits, bf16Value, f16Bits, f16Value } from '../../dsl/half.ts'
import type { Rng } from './rng.ts'

export type HalfType = 'f16' | 'bf16'
export const halfTypes: readonly HalfType[] = ['f16', 'bf16']

/** Rounds to a 16-bit type; the bits. */
export const halfBits = { f16: f16Bits, bf16: bf16Bits } as const
/** The value of the bits of a 16-bit type. */
export const halfValue = { f16: f16Value, bf16: bf16Value } as const

/** The most that rounding to a 16-bit type changes `x`: half the spacing of its numbers there. */
export function halfRounding(dtype: HalfType, x: number): number {
  return dtype === 'f16' ? Math.max(Math.abs(x) * 2 ** -11, 2 ** -25) : Math.abs(x) * 2 ** -8
}

/** Bits of normally distributed numbers. */
export function randomHalfs(random: Rng, n: number, dtype: HalfType, sigma = 1): Uint16Array {
  // Many tests draw millions: a loop takes a quarter of the time of Uint16Array.from.
  const bits = halfBits[dtype]
  const values = new Uint16Array(n)
  for (let i = 0; i < n; i++) values[i] = bits(sigma * random.normal())
  return values
}

/** The values of an array of bits. */
export const halfValues = (bits: ArrayLike<number>, dtype: HalfType): Float64Array =>
  Float64Array.from(bits, halfValue[dtype])

/** What a row is like, besides random: what kernels over rows must get through without a NaN. */
export const rowKinds = ['normal', 'zeros', 'constant', 'extreme', 'tiny', 'spike'] as const
export type RowKind = (typeof rowKinds)[number]

/** Magnitudes whose squares and products with each other stay within f32, summed over a row. */
const extreme = { f16: 65504, bf16: 2 ** 55 } as const
const tiny = { f16: 2 ** -24, bf16: 2 ** -60 } as const

/** Rows of `H` elements, one of each kind named. */
export function rowsOfKinds(random: Rng, kinds: readonly RowKind[], H: number, dtype: HalfType): Uint16Array {
  const sign = () => (random.uniform() < 0.5 ? -1 : 1)
  const rows = kinds.map((kind) => {
    const level = random.normal()
    const spike = random.integer(0, H - 1)
    const value = (i: number): number => {
      switch (kind) {
        case 'normal':
          return random.normal()
        case 'zeros':
          return 0
        case 'constant':
          return level
        case 'extreme':
          return sign() * extreme[dtype]
        case 'tiny':
          return sign() * tiny[dtype] * random.integer(0, 3)
        case 'spike':
          return i === spike ? 1000 : 0.01 * random.normal()
      }
    }
    return Array.from({ length: H }, (_, i) => halfBits[dtype](value(i)))
  })
  return Uint16Array.from(rows.flat())
}

/** `T` kinds: normal rows, with one of each other kind among them where there is room. */
export const mixedKinds = (T: number): RowKind[] =>
  Array.from({ length: T }, (_, t) => (t % 2 === 1 ? (rowKinds[1 + (t >> 1)] ?? 'normal') : 'normal'))

/** Fails at the first value that is further from the expected one than `bound` allows, NaN included. */
export function assertNear(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: (i: number) => number,
  columns: number,
  name = 'out',
): void {
  if (actual.length !== expected.length)
    throw new Error(`${name} has ${actual.length} elements, expected ${expected.length}`)
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i]! - expected[i]!) <= bound(i))) {
      const at = `[${Math.floor(i / columns)}, ${i % columns}]`
      throw new Error(`${name}${at} is ${actual[i]}, expected ${expected[i]} within ${bound(i)}`)
    }
  }
}
