import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { coalesce, coalesceModewise, flatten, modesOf, parseLayout } from '../../../dsl/layout/index.ts'
import { anyLayout, compactLayout, offsets, swizzledLayout } from '../../support/layouts.ts'

const layouts = fc.oneof(anyLayout, compactLayout, swizzledLayout)

test('coalesce keeps the function of the flat index and leaves nothing to join', () => {
  fc.assert(
    fc.property(layouts, (l) => {
      const c = coalesce(l)
      assert.equal(offsets(c), offsets(l))
      const shape = typeof c.shape === 'number' ? [c.shape] : (c.shape as number[])
      const stride = typeof c.stride === 'number' ? [c.stride] : (c.stride as number[])
      assert.ok(shape.every((n) => typeof n === 'number'))
      if (l.size > 1) assert.ok(shape.every((n) => n > 1))
      for (let i = 1; i < shape.length; i++) assert.is.not(stride[i], shape[i - 1]! * stride[i - 1]!)
      assert.is(coalesce(c).id, c.id)
    }),
  )
})

test('coalesceModewise keeps each mode', () => {
  fc.assert(
    fc.property(layouts, (l) => {
      const c = coalesceModewise(l)
      assert.equal(modesOf(c).map(offsets), modesOf(l).map(offsets))
      assert.equal(offsets(c), offsets(l))
    }),
  )
})

test('flatten removes nesting alone', () => {
  fc.assert(fc.property(layouts, (l) => assert.equal(offsets(flatten(l)), offsets(l))))
  assert.is(flatten(parseLayout('((8,2),4):((1,16),8)')).id, '(8,2,4):(1,16,8)')
})

test('known cases', () => {
  const c = (id: string) => coalesce(parseLayout(id)).id
  assert.is(c('(2,(1,6)):(1,(6,2))'), '12:1')
  assert.is(c('(1,1):(5,7)'), '1:0')
  assert.is(c('(4,2,3):(0,0,1)'), '(8,3):(0,1)')
  assert.is(coalesceModewise(parseLayout('((2,4),(2,2)):((1,2),(8,4))')).id, '(8,(2,2)):(1,(8,4))')
})

test.run()
