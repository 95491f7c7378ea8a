import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { replayLength } from '../../bench/measure.ts'
import { floorMicroseconds } from '../../runtime/tune/roofline.ts'
import { median } from '../../runtime/tune/statistics.ts'

test('half of the numbers lie on each side of their median, whatever their order', () => {
  // Of numbers whose sums are finite, as those of times are.
  const number = fc.double({ noNaN: true, min: -1e307, max: 1e307 })
  fc.assert(
    fc.property(fc.array(number, { minLength: 1 }), (values) => {
      const m = median(values)
      const below = values.filter((value) => value < m).length
      const above = values.filter((value) => value > m).length
      assert.ok(below <= values.length / 2 && above <= values.length / 2)
    }),
  )
  assert.is(median([10, 9, 1]), 9)
  assert.is(median([4, 1, 3, 100]), 3.5)
  assert.throws(() => median([]), /no numbers/)
})

test('a replay takes whole turns and about 2 ms, unless launches are slow', () => {
  assert.is(replayLength(10, 18), 216)
  assert.is(replayLength(0.5, 1), 2000)
  assert.is(replayLength(100, 135), 135)
  assert.is(replayLength(1000, 135), 20)
  assert.is(replayLength(50_000, 3), 1)
})

test('the floor is the slower of memory and matrix units', () => {
  const ceiling = {
    bytesPerSecond: 4e12,
    int8OpsPerSecond: 2e15,
    fp8OpsPerSecond: 2e15,
    f16OpsPerSecond: 8e14,
  }
  assert.is(floorMicroseconds({ bytes: 8e6, ops: 0, unit: 'f16' }, ceiling), 2)
  assert.is(floorMicroseconds({ bytes: 8e6, ops: 8e9, unit: 'int8' }, ceiling), 4)
  assert.is(floorMicroseconds({ bytes: 8e6, ops: 8e9, unit: 'f16' }, ceiling), 10)
})

test.run()
