import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { stackRows } from '../../checkpoint/quantized-matrix.ts'
import { f16Value } from '../../dsl/half.ts'
import { roundHalfEven } from '../../dsl/math.ts'
import { QuantizeError } from '../../quantize/error.ts'
import type { Matrix } from '../../quantize/matrix.ts'
import {
  dequantize,
  groupCode,
  groupStep,
  LEVEL1_BOUND,
  type QuantizedFormatName,
  rowGrids,
} from '../../quantize/round-to-nearest.ts'
import { rng } from '../support/rng.ts'
import { roundToNearest } from '../support/round-to-nearest.ts'

const { normal, integer } = rng(41)
const formats = Object.keys(rowGrids) as QuantizedFormatName[]

const matrixOf = (rows: readonly (readonly number[])[]): Matrix => ({
  name: 'w',
  rows: rows.length,
  columns: rows[0]!.length,
  values: Float32Array.from(rows.flat()),
})
/** Rows of very different sizes, some with outliers, as trained weights have them. */
const randomMatrix = (rows: number, columns: number): Matrix =>
  matrixOf(
    Array.from({ length: rows }, (_, n) =>
      Array.from({ length: columns }, () => normal() * 10 ** -(n % 4) * (integer(0, 99) === 0 ? 6 : 1)),
    ),
  )

test('two-level codes stay in their bytes for every group that level 1 can give', () => {
  const largest = (bound: number): number => {
    let most = 0
    for (let min = -bound; min <= bound; min++)
      for (let max = min; max <= bound; max++) {
        const step = groupStep(min, max)
        assert.ok(step >= 1 && step <= 16)
        for (let x = min; x <= max; x++) {
          const code = groupCode(x, min, step)
          if (code < 0 || code > 15) assert.unreachable(`code ${code} of ${x} in ${min}…${max}`)
          if (code * step > 255 || code * step + min < -128) assert.unreachable(`${x} in ${min}…${max}`)
          most = Math.max(most, code * step + min)
        }
      }
    return most
  }
  assert.is(LEVEL1_BOUND, 119)
  assert.is(largest(119), 126)
  assert.is(largest(120), 127)
  assert.is(largest(121), 128, 'the check would notice a byte that overflows')
})

test('with a zero point in code units 119 is the last safe bound, and 120 is not', () => {
  const largest = (bound: number): number => {
    let most = 0
    for (let min = -bound; min <= bound; min++)
      for (let max = min; max <= bound; max++) {
        const step = groupStep(min, max)
        const zero = Math.min(Math.max(roundHalfEven(-min / step), 0), 15)
        const code = Math.min(Math.max(roundHalfEven(max / step) + zero, 0), 15)
        most = Math.max(most, (code - zero) * step)
      }
    return most
  }
  assert.is(largest(119), 121)
  assert.is(largest(120), 128)
})

test('w4a8: codes are taken with the scale as fp16 has it', () => {
  const { codes, scale, zero } = roundToNearest(matrixOf([[-1, 0, 0.5, 2]]), 'w4a8')
  assert.is(f16Value(scale[0]!), 0.199951171875)
  assert.equal(Array.from(zero!), [5])
  // 0.5 / 0.2 is 2.5, which would round to the even 2; by the fp16 scale it is 2.5006.
  assert.equal(Array.from(codes), [0, 5, 8, 15])
})

test('w8a8: codes are taken with the scale as fp16 has it', () => {
  const { codes, scale } = roundToNearest(matrixOf([[2.54, -2.54, 0.07, 0, 1]]), 'w8a8')
  assert.is(f16Value(scale[0]!), 0.0200042724609375)
  assert.equal(Array.from(codes), [127, -127, 3, 0, 50])
})

test('w4a8-g128: level 1 is rounded before level 2', () => {
  // Scale 2^-7 exactly. The first group spans −119…16 (step 9), the second 0.4…2.5, rounded to 0…2 (step 1).
  const row = [-119, 16, -60, -118.6, ...Array(124).fill(-119), 0.4, 2.5, 1.5, ...Array(125).fill(0.6)]
  const { codes, scale, groupScale, groupMin } = roundToNearest(
    matrixOf([row.map((x) => x / 128)]),
    'w4a8-g128',
  )
  assert.is(f16Value(scale[0]!), 2 ** -7)
  assert.equal(Array.from(groupScale!), [9, 1])
  assert.equal(Array.from(groupMin!), [-119, 0])
  assert.equal(Array.from(codes.subarray(0, 5)), [0, 15, 7, 0, 0])
  assert.equal(Array.from(codes.subarray(128, 132)), [0, 2, 2, 1])
})

test('no weight moves by more than its grid explains', () => {
  const matrix = randomMatrix(24, 384)
  for (const format of formats) {
    const quantized = roundToNearest(matrix, format)
    const values = dequantize(quantized, format)
    values.forEach((value, i) => {
      // A scale of a row, or of a group.
      const s = f16Value(quantized.scale[Math.floor((i * quantized.scale.length) / values.length)]!)
      // Half a step; for w4a8 a whole one, where zero point and code round the same way; for two levels half a level-1
      // step and half a group step, at most 8. Beside these 2^-10 for the fp16 scale at the far end.
      const steps = format === 'w8a8' ? 0.5 : format === 'w4a8' || format.startsWith('w4a16') ? 1 : 8.5
      const bound = s * steps + Math.abs(matrix.values[i]!) * 2 ** -10
      assert.ok(Math.abs(value - matrix.values[i]!) <= bound, `${format} ${matrix.values[i]} → ${value}`)
    })
  }
})

test('a weight of 0 stays 0 in the formats of one level', () => {
  const matrix = randomMatrix(8, 128)
  matrix.values.forEach((_, i) => {
    if (i % 3 === 0) matrix.values[i] = 0
  })
  for (const format of ['w4a8', 'w8a8'] as const)
    dequantize(roundToNearest(matrix, format), format).forEach((value, i) => {
      if (i % 3 === 0) assert.ok(value === 0)
    })
})

test('rows of zeros, of one value and of vanishing values quantize without NaN', () => {
  for (const format of formats) {
    const rows = [0, 0.5, -0.5, 1e-30, 6e-8, -0].map((value) => Array(128).fill(value))
    const values = dequantize(roundToNearest(matrixOf(rows), format), format)
    for (const [n, row] of rows.entries())
      for (const value of values.subarray(n * 128, (n + 1) * 128))
        assert.ok(
          Math.abs(value - row[0]) <= Math.abs(row[0]) * 2 ** -10 + 1e-7,
          `${format}: ${row[0]} → ${value}`,
        )
  }
  assert.equal(Array.from(roundToNearest(matrixOf([Array(128).fill(0)]), 'w8a8').scale), [0x3c00])
})

test('what cannot be quantized is refused with the name of the tensor', () => {
  const refusal = (matrix: Matrix, format: QuantizedFormatName): string => {
    try {
      roundToNearest({ ...matrix, name: 'model.layers.3.mlp.up_proj.weight' }, format)
    } catch (error) {
      assert.instance(error, QuantizeError)
      assert.match((error as Error).message, 'tensor model.layers.3.mlp.up_proj.weight')
      return (error as Error).message
    }
    return 'accepted'
  }
  assert.match(refusal(matrixOf([Array(128).fill(1e9)]), 'w8a8'), 'f16 cannot hold')
  assert.match(refusal(randomMatrix(1, 192), 'w4a8-g128'), '192 columns, not a multiple of 128')
})

test('stacked rows are the rows of the parts', () => {
  const parts = [randomMatrix(3, 256), randomMatrix(5, 256)]
  const whole: Matrix = {
    name: 'w',
    rows: 8,
    columns: 256,
    values: Float32Array.from(parts.flatMap((p) => [...p.values])),
  }
  for (const format of formats)
    assert.equal(stackRows(parts.map((part) => roundToNearest(part, format))), roundToNearest(whole, format))
})

test.run()
