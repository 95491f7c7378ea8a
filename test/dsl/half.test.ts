import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  bf16Bits,
  bf16FromF32,
  bf16Value,
  decodeF16,
  encodeF16,
  f16Bits,
  f16FromF32,
  f16Value,
  f32FromBf16,
  f32FromF16,
} from '../../dsl/half.ts'
import { rng } from '../support/rng.ts'

/** Seeded f32 values of every exponent, from their bits. */
function anyFloats(seed: number, count: number): Float32Array {
  const random = rng(seed)
  const bits = Uint32Array.from({ length: count }, () => random.integer(0, 0xffff_ffff))
  return new Float32Array(bits.buffer)
}

const isNaN16 = (bits: number, infinity: number) => (bits & 0x7fff) > infinity

test('every f16 survives f16 → f32 → f16, and every NaN becomes the canonical one', () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i)
  const back = f16FromF32(f32FromF16(all))
  for (let i = 0; i < 65536; i++)
    if (back[i] !== (isNaN16(i, 0x7c00) ? 0x7fff : i)) assert.is(back[i], i, `f16 bits ${i.toString(16)}`)
})

test('every bf16 survives bf16 → f32 → bf16, and every NaN becomes the canonical one', () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i)
  const back = bf16FromF32(f32FromBf16(all))
  for (let i = 0; i < 65536; i++)
    if (back[i] !== (isNaN16(i, 0x7f80) ? 0x7fff : i)) assert.is(back[i], i, `bf16 bits ${i.toString(16)}`)
})

/** The nearest of the finite values `of(bits)`, ties to even bits, by bisection in exact f64 arithmetic. */
function nearestBits(x: number, of: (bits: number) => number, largest: number): number {
  const magnitude = Math.abs(x)
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0
  let low = 0
  let high = largest + 1
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if (of(middle) <= magnitude) low = middle
    else high = middle
  }
  const step = of(largest) - of(largest - 1)
  const above = high > largest ? of(largest) + step : of(high)
  const down = magnitude - of(low)
  const up = above - magnitude
  return sign | (down < up || (down === up && low % 2 === 0) ? low : high)
}

test('f32 → f16 and bf16 round to the nearest value, ties to even, subnormals and overflow included', () => {
  const random = rng(11)
  const values = anyFloats(12, 4000)
  const around = Float32Array.from({ length: 8000 }, () => random.normal() * 2 ** random.integer(-28, 17))
  const ties = Float32Array.from({ length: 4000 }, () => {
    const low = f16Value(random.integer(0, 0x7bfe))
    return ((low + f16Value(f16Bits(low) + 1)) / 2) * (random.uniform() < 0.5 ? -1 : 1)
  })
  for (const x of [
    ...values,
    ...around,
    ...ties,
    65519.996,
    65520,
    -65520,
    2 ** -25,
    2 ** -25 * 1.0001,
    0,
    -0,
  ]) {
    if (Number.isNaN(x)) continue
    const f32 = Math.fround(x)
    if (Math.abs(f32) === Number.POSITIVE_INFINITY) continue
    const half = Math.abs(f32) >= 2 ** 16 ? (f32 < 0 ? 0xfc00 : 0x7c00) : nearestBits(f32, f16Value, 0x7bff)
    assert.is(f16Bits(x), half, `f16 of ${x}`)
    assert.is(bf16Bits(x), nearestBits(f32, bf16Value, 0x7f7f), `bf16 of ${x}`)
  }
})

test('conversion into part of a larger array leaves the rest alone, and a short destination is refused', () => {
  const src = anyFloats(13, 5)
  const dst = new Uint16Array(8).fill(7)
  encodeF16(
    dst.subarray(1),
    src.map((x) => (Number.isNaN(x) ? 1 : x)),
  )
  assert.is(dst[0], 7)
  assert.equal([...dst.subarray(6)], [7, 7])
  assert.throws(() => encodeF16(new Uint16Array(4), src), /holds 4 elements and the source has 5/)
  assert.throws(() => decodeF16(new Float32Array(2), dst), /holds 2 elements and the source has 8/)
})

test.run()
