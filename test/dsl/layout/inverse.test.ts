import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  leftInverse,
  parseLayout,
  rightInverse,
  rowMajor,
  swizzle,
  swizzled,
} from '../../../dsl/layout/index.ts'
import { anyLayout, attempt, compactLayout, holeyLayout, offsets, refusal } from '../../support/layouts.ts'

test('l(rightInverse(i)) = i, as far as the modes of l cover the offsets from 0', () => {
  fc.assert(
    fc.property(fc.oneof(anyLayout, compactLayout, holeyLayout), (l) => {
      const r = rightInverse(l)
      for (let i = 0; i < r.size; i++) assert.is(l(r(i)), i)
    }),
  )
})

test('leftInverse(l(i)) = i for layouts without overlap', () => {
  let inverted = 0
  fc.assert(
    fc.property(fc.oneof(anyLayout, holeyLayout), (l) => {
      const r = attempt(() => leftInverse(l))
      if (!r) return
      inverted++
      for (let i = 0; i < l.size; i++) assert.is(r(l(i)), i)
    }),
  )
  assert.ok(inverted > 100)
})

test('the inverses of a bijection agree, and invert it back', () => {
  fc.assert(
    fc.property(compactLayout, (l) => {
      const r = rightInverse(l)
      assert.is(r.size, l.size)
      assert.is(leftInverse(l).id, r.id)
      assert.equal(offsets(rightInverse(r)), offsets(l))
    }),
  )
})

test('known cases', () => {
  assert.is(rightInverse(parseLayout('(4,8):(8,1)')).id, '(8,4):(4,1)')
  assert.is(rightInverse(parseLayout('(4,8):(16,1)')).id, '8:4')
  assert.is(rightInverse(parseLayout('4:2')).id, '1:0')
  assert.is(leftInverse(parseLayout('4:2')).id, '(2,4):(4,1)')
})

test('layouts without an inverse are refused', () => {
  assert.match(refusal(() => leftInverse(parseLayout('(4,2):(1,0)'))).condition, 'mode 2:0 sends all')
  assert.match(refusal(() => leftInverse(parseLayout('(4,2):(1,2)'))).condition, 'starts inside')
  assert.match(
    refusal(() => leftInverse(parseLayout('(4,2):(1,6)'))).condition,
    'stride 6 is not a multiple of 4',
  )
  const s = swizzled(rowMajor([8, 128]), swizzle(128))
  assert.match(refusal(() => leftInverse(s)).condition, 'swizzled')
  assert.match(refusal(() => rightInverse(s)).message, `rightInverse(${s.id})`)
})

test.run()
