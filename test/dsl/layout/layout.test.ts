import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Layout } from '../../../dsl/layout/index.ts'
import {
  concat,
  isLayout,
  layout,
  mode,
  modesOf,
  rowMajor,
  swizzleOffset,
  xorSwizzle,
} from '../../../dsl/layout/index.ts'
import {
  anyLayout,
  coordOf,
  offsetByDefinition,
  offsets,
  refusal,
  swizzledLayout,
} from '../../support/layouts.ts'

test('an offset is the sum of coordinate times stride, for flat and for nested coordinates', () => {
  fc.assert(
    fc.property(anyLayout, (l) => {
      for (let i = 0; i < l.size; i++) {
        const coord = coordOf(l.shape, i)
        const expected = offsetByDefinition(l.shape, l.stride, coord)
        assert.is(l(i), expected)
        if (l.rank > 1) assert.is(l(coord), expected)
        if (Array.isArray(coord)) assert.is(l(...coord), expected)
      }
    }),
  )
})

test('a coordinate takes one integer for a nested mode, first submode fastest', () => {
  const l = layout([[8, 2], 4], [[1, 16], 8])
  assert.is(l(9, 3), l([1, 1], 3))
  assert.is(l(9, 3), 1 + 16 + 24)
  assert.is(l(9 + 16 * 3), 41)
  assert.is(l([[1, 1], 3]), 41)
})

test('a swizzle is applied to the sum', () => {
  fc.assert(
    fc.property(swizzledLayout, (l) => {
      const bare = layout(l.shape, l.stride)
      assert.equal(
        offsets(l),
        offsets(bare).map((o) => swizzleOffset(l.swizzle!, o)),
      )
    }),
  )
})

test('size counts coordinates, cosize is one more than the largest offset, or a bound on it under a swizzle', () => {
  fc.assert(fc.property(anyLayout, (l) => assert.is(l.cosize, 1 + Math.max(...offsets(l)))))
  fc.assert(fc.property(swizzledLayout, (l) => assert.ok(l.cosize > Math.max(...offsets(l)))))
  const l = layout([8, 16], [16, 1], xorSwizzle(2, 2, 2))
  assert.is(l.cosize, 128)
})

test('without strides the first mode is fastest, and rowMajor makes the last one fastest', () => {
  assert.is(layout([2, [3, 4]]).id, '(2,(3,4)):(1,(2,6))')
  assert.is(rowMajor([2, [3, 4]]).id, '(2,(3,4)):(12,(4,1))')
  assert.is(layout(8).id, '8:1')
  assert.is(layout(8).rank, 1)
  assert.is(layout([8]).rank, 1)
})

test('mode and concat take layouts apart and together', () => {
  fc.assert(
    fc.property(anyLayout, (l) => {
      if (Array.isArray(l.shape)) assert.is(concat(...modesOf(l)).id, l.id)
      const first = mode(l, 0)
      for (let i = 0; i < first.size; i++) assert.is(first(i), l(i))
    }),
  )
  assert.match(refusal(() => mode(layout([2, 2]), 2)).condition, 'modes 0 to 1')
  const s = layout([8, 8], [8, 1], xorSwizzle(1, 0, 3))
  assert.match(refusal(() => concat(s, s)).condition, 'swizzled')
})

test('a layout shows as its id in text, JSON and console output, and cannot be changed', async () => {
  const { inspect } = await import('node:util')
  const l = layout([4, 8], [8, 1])
  assert.is(`${l}`, '(4,8):(8,1)')
  assert.is(JSON.stringify({ l }), '{"l":"(4,8):(8,1)"}')
  assert.is(inspect(l), '(4,8):(8,1)')
  assert.throws(() => {
    ;(l as { id: string }).id = 'other'
  })
  assert.throws(() => (l.shape as number[]).push(1))
  assert.ok(isLayout(l))
  assert.not.ok(isLayout(() => 0))
})

test('a shape or stride that is no layout is refused with the reason', () => {
  const condition = (shape: Layout['shape'], stride?: Layout['stride']) =>
    refusal(() => layout(shape, stride)).condition
  assert.is(condition([4, 0]), 'extent 0 is not a positive integer')
  assert.is(condition([4, 1.5]), 'extent 1.5 is not a positive integer')
  assert.is(condition([4, 2], [1, -4]), 'stride -4 is not an integer from 0')
  assert.is(condition([4, [2, 2]], [1, 4]), 'shape and stride must nest alike')
  assert.is(condition([4, []], [1, []]), 'a shape has at least one extent at every level')
  assert.is(condition([2 ** 30, 2 ** 30]), 'its offsets exceed 2^53')
  const wide = refusal(() => layout([2, 2], [1, 2 ** 31], xorSwizzle(1, 0, 1)))
  assert.is(wide.condition, 'offsets under a swizzle must stay below 2^31')
})

test('a coordinate outside the shape is refused, naming the layout', () => {
  const l = layout([4, 8], [8, 1])
  assert.is(refusal(() => l(4, 0)).message, 'offset((4,8):(8,1)): coordinate 4 is not an integer from 0 to 3')
  for (const bad of [-1, 0.5, Number.NaN, 8]) assert.match(refusal(() => l(0, bad)).condition, 'from 0 to 7')
  assert.match(refusal(() => l(32)).condition, 'from 0 to 31')
  assert.match(refusal(() => l(1, 2, 3)).condition, '3 parts does not fit')
  assert.match(refusal(() => l([1, 1], 1)).condition, 'does not fit')
})

test.run()
