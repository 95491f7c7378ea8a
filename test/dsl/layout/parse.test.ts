import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseLayout } from '../../../dsl/layout/index.ts'
import { anyLayout, offsets, refusal, swizzledLayout } from '../../support/layouts.ts'

test('the id of a layout reads back as the same layout', () => {
  fc.assert(
    fc.property(fc.oneof(anyLayout, swizzledLayout), (l) => {
      const back = parseLayout(l.id)
      assert.is(back.id, l.id)
      assert.equal(offsets(back), offsets(l))
    }),
  )
})

test('text that is no id is refused', () => {
  for (const bad of [
    '',
    '8',
    '(8,2)',
    '(8,2:(1,8)',
    '(8,2):(1,8))',
    '(8,,2):(1,8)',
    '(8,2):(1,x)',
    'Sw<3,4>o8:1',
    '():()',
  ]) {
    assert.is(refusal(() => parseLayout(bad)).operation, 'parseLayout')
  }
  assert.match(refusal(() => parseLayout('(8,2):(1,8,2)')).condition, 'nest alike')
  assert.match(refusal(() => parseLayout('Sw<3,4,2>o8:1')).condition, 'overlap')
})

test.run()
