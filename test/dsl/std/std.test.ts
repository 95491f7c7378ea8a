import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import type { Diagnostic } from '../../../codegen/diagnostics.ts'
import {
  exp2ExactReference,
  exp2ProductReference,
  exp2WithinReference,
  reciprocalExactReference,
} from '../../../dsl/exact-reference.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { assertSame, runKernel } from '../../support/run-kernel.ts'
import { bytes, exact, reductions, ring, rows } from './kernels.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })
const list = <T>(n: number, f: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => f(i))

/** The sum in the order of the butterfly: halves, then quarters. */
function butterfly(values: readonly number[]): number {
  if (values.length === 1) return values[0]!
  const half = values.length / 2
  return butterfly(list(half, (i) => Math.fround(values[i]! + values[i + half]!)))
}

for (const threads of [32, 96, 512]) {
  test(`reductions give every one of ${threads} threads the result, in an order that the block size fixes`, async () => {
    const random = rng(threads)
    const lanes = 8
    const x = Float32Array.from(list(threads, () => random.normal()))
    const n = Int32Array.from(list(threads, () => random.integer(-1e6, 1e6)))
    const { floats, ints } = await runKernel(
      device,
      reductions,
      { threads, lanes },
      {
        x: { dtype: 'f32', shape: [threads], data: x },
        n: { dtype: 'i32', shape: [threads], data: n },
        floats: { dtype: 'f32', shape: [5, threads] },
        ints: { dtype: 'i32', shape: [5, threads] },
      },
    )
    const warps = list(threads / 32, (w) => butterfly([...x.subarray(32 * w, 32 * w + 32)]))
    const total = warps.reduce((sum, v) => Math.fround(sum + v))
    const group = (t: number, values: ArrayLike<number>): number[] =>
      list(lanes, (i) => values[t - (t % lanes) + i]!)
    const expectedFloats = [
      list(threads, (t) => butterfly(group(t, x))),
      list(threads, (t) => Math.max(...group(t, x))),
      list(threads, (t) => Math.min(...group(t, x))),
      list(threads, () => total),
      list(threads, () => Math.max(...x)),
    ]
    assertSame(floats!, expectedFloats.flat(), threads, 'floats')
    const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b)
    const expectedInts = [
      list(threads, (t) => sum(group(t, n))),
      ...[0, 1].flatMap(() => [list(threads, () => sum(n)), list(threads, () => Math.max(...n))]),
    ]
    assertSame(ints!, expectedInts.flat(), threads, 'ints')
  })
}

for (const [columns, vec, threads] of [
  [256, 4, 64],
  [200, 4, 64],
  [52, 2, 64],
  [96, 4, 32],
  [3, 1, 64],
] as const) {
  test(`rows of ${columns} columns are loaded and stored by ${threads} threads, ${vec} at a time`, async () => {
    const R = 3
    const random = rng(columns)
    const x = Float32Array.from(list(R * columns, () => random.integer(-1000, 1000)))
    const { out } = await runKernel(
      device,
      rows,
      { columns, vec, threads },
      {
        x: { dtype: 'f32', shape: [R, columns], data: x },
        out: { dtype: 'f32', shape: [R, columns] },
      },
    )
    assert.equal(
      out,
      x.map((v) => v + 1),
    )
  })
}

test('a row that ends within an access is refused, not read past its end', () => {
  const refused = (columns: number, vec: number) => () =>
    compileKernel(rows, { columns, vec, threads: 64 }, 'sm_80')
  assert.throws(
    refused(50, 4),
    (error: Diagnostic) => error.code === 'E0309' && error.message.includes('50 columns'),
  )
  assert.ok(refused(50, 2)().ptx)
})

test('byte helpers work on each byte alone', async () => {
  const random = rng(7)
  const x = Uint32Array.from(list(64, () => random.integer(0, 2 ** 32 - 1)))
  const y = Uint32Array.from(list(64, () => random.integer(0, 2 ** 32 - 1)))
  const each = (f: (a: number, b: number, first: number) => number): number[] =>
    list(64, (t) => {
      const at = (word: number, i: number): number => (word >>> (8 * i)) & 255
      return list(4, (i) => (f(at(x[t]!, i), at(y[t]!, i), at(x[t]!, 0)) & 255) * 2 ** (8 * i)).reduce(
        (a, b) => a + b,
      )
    })
  const { out } = await runKernel(
    device,
    bytes,
    {},
    {
      x: { dtype: 'u32', shape: [64], data: x },
      y: { dtype: 'u32', shape: [64], data: y },
      out: { dtype: 'u32', shape: [10, 64] },
    },
  )
  const expected = [
    each((a, b) => a + b),
    each((a, b) => (a & 127) - (b & 127)),
    each((a) => a & 15),
    each((a) => a >> 4),
    each((_a, _b, first) => first),
    [...x],
    ...list(4, (column) =>
      list(64, (t) => {
        const byte = (word: number) => (word >>> (8 * column)) & 255
        return byte(x[t]!) + byte(y[t]!) * 2 ** 8 + byte(~x[t]!) * 2 ** 16 + byte(~y[t]!) * 2 ** 24
      }),
    ),
  ]
  assertSame(out!, expected.flat(), 64)
})

for (const [stages, steps] of [
  [2, 1],
  [2, 5],
  [3, 2],
  [4, 7],
] as const) {
  test(`a ring of ${stages} stages sees each of ${steps} steps once, and zeros past the last row`, async () => {
    const [M, columns] = [11, 8]
    const K = steps * columns
    const random = rng(10 * stages + steps)
    const x = Float32Array.from(list(M * K, () => random.integer(-1000, 1000)))
    const { out } = await runKernel(
      device,
      ring,
      { K, columns, stages },
      {
        x: { dtype: 'f32', shape: [M, K], data: x },
        out: { dtype: 'f32', shape: [16, columns] },
      },
    )
    const expected = list(16 * columns, (i) => {
      const [row, column] = [Math.floor(i / columns), i % columns]
      return row < M ? list(steps, (k) => x[row * K + k * columns + column]!).reduce((a, b) => a + b) : 0
    })
    assertSame(out!, expected, columns)
  })
}

test('powers and roots of exact operations are right to two units in the last place, and extremes are not NaN', async () => {
  const random = rng(3)
  const edges = [0.5, -0.5, 127, 127.499, 128, 1000, -126, -126.6, -127, -1000, 2 ** -20, Infinity, -Infinity]
  const x = Float32Array.from([...list(4000, () => (random.uniform() * 2 - 1) * 130), ...edges])
  const args = {
    x: { dtype: 'f32', shape: [x.length], data: x },
    power: { dtype: 'f32', shape: [x.length] },
    within: { dtype: 'f32', shape: [x.length] },
    product: { dtype: 'f32', shape: [x.length] },
    reciprocal: { dtype: 'f32', shape: [x.length] },
    root: { dtype: 'f32', shape: [x.length] },
  } as const
  const { power, within, product, reciprocal, root } = await runKernel(device, exact, {}, args)
  x.forEach((value, i) => {
    const wanted = value >= 127.5 ? Infinity : value < -126.5 ? 0 : 2 ** value
    assert.ok(
      power![i] === wanted || Math.abs(power![i]! / wanted - 1) < 2 ** -22,
      `2^${value} is ${power![i]}`,
    )
    assert.is(power![i], exp2ExactReference(value), `2^${value} on the host`)
    const near = Math.max(-125, Math.min(125, value))
    for (const [actual, wanted, name] of [
      [within![i]!, 2 ** near, 'exp2Within'],
      [product![i]!, 2 ** near, 'exp2Product'],
      [reciprocal![i]!, 1 / within![i]!, 'reciprocalExact'],
    ] as const)
      assert.ok(Math.abs(actual / wanted - 1) < 2 ** -22, `${name} of ${near} is ${actual}`)
    assert.is(within![i], exp2WithinReference(near), `2^${near} on the host`)
    assert.is(product![i], exp2ProductReference(Math.fround(near / 2), 2), `2^${near} on the host`)
    assert.is(reciprocal![i], reciprocalExactReference(within![i]!), `reciprocal of 2^${near} on the host`)
    assert.is(root![i], Math.fround(1 / Math.fround(Math.sqrt(Math.abs(value)))), `root of ${value}`)
  })
})

test.run()
