import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseLayout, recast, rowMajor, swizzle, swizzled } from '../../../dsl/layout/index.ts'
import {
  anyLayout,
  attempt,
  compactLayout,
  holeyLayout,
  offsets,
  refusal,
  swizzledLayout,
} from '../../support/layouts.ts'

const ratio = fc.constantFrom(2, 3, 4, 8)
const distinct = (values: number[]) => [...new Set(values)].sort((a, b) => a - b)

test('to wider elements: exactly the wide elements that the narrow ones touch', () => {
  let recasts = 0
  fc.assert(
    fc.property(fc.oneof(anyLayout, compactLayout, holeyLayout, swizzledLayout), ratio, (l, n) => {
      const r = attempt(() => recast(l, 8, 8 * n))
      if (!r) return
      recasts++
      assert.equal(distinct(offsets(r)), distinct(offsets(l).map((o) => Math.floor(o / n))))
    }),
    { numRuns: 1000 },
  )
  assert.ok(recasts > 100, `only ${recasts} layouts recast`)
})

test('to narrower elements: exactly the parts of the wide ones', () => {
  let recasts = 0
  fc.assert(
    fc.property(fc.oneof(anyLayout, compactLayout, holeyLayout, swizzledLayout), ratio, (l, n) => {
      const r = attempt(() => recast(l, 8 * n, 8))
      if (!r) return
      recasts++
      assert.is(r.size, l.size * n)
      const parts = offsets(l).flatMap((o) => Array.from({ length: n }, (_, i) => o * n + i))
      assert.equal(distinct(offsets(r)), distinct(parts))
    }),
    { numRuns: 1000 },
  )
  assert.ok(recasts > 100, `only ${recasts} layouts recast`)
})

test('to narrower elements and back is the same function', () => {
  fc.assert(
    fc.property(compactLayout, ratio, (l, n) => {
      const narrow = attempt(() => recast(l, 8 * n, 8))
      if (narrow) assert.equal(offsets(recast(narrow, 8, 8 * n)), offsets(l))
    }),
  )
})

test('known cases', () => {
  const bytes = swizzled(rowMajor([8, 128]), swizzle(128))
  assert.is(recast(bytes, 8, 16).id, 'Sw<3,3,3>o(8,64):(64,1)')
  assert.is(recast(bytes, 8, 128).id, 'Sw<3,0,3>o(8,8):(8,1)')
  assert.is(recast(parseLayout('(8,(4,2)):(1,(8,32))'), 8, 32).id, '(2,(4,2)):(1,(2,8))')
  assert.is(recast(parseLayout('((2,2),4):((1,2),4)'), 8, 32).id, '((1,1),4):((0,0),1)')
})

test('what would split an element is refused', () => {
  const condition = (id: string, from: number, to: number) =>
    refusal(() => recast(parseLayout(id), from, to)).condition
  assert.match(condition('(8,3):(1,9)', 8, 16), 'mode 3:9 does not fall into whole elements')
  assert.match(condition('6:1', 8, 32), 'mode 6:1')
  assert.match(condition('(4,4):(1,1)', 8, 32), 'overlap')
  assert.match(condition('4:2', 16, 8), 'no contiguous mode')
  assert.match(condition('8:1', 8, 12), 'multiple of the other')
  assert.match(condition('8:1', 0, 8), 'positive')
  assert.match(condition('Sw<1,1,3>o32:1', 8, 32), 'apart')
  assert.match(condition('Sw<1,4,3>o48:1', 8, 24), 'powers of two')
})

test.run()
