import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  compose,
  divide,
  layout,
  mode,
  parseLayout,
  swizzled,
  tiledDivide,
  zippedDivide,
} from '../../../dsl/layout/index.ts'
import {
  anyLayout,
  anySwizzle,
  attempt,
  compactLayout,
  holeyLayout,
  offsets,
  refusal,
} from '../../support/layouts.ts'

const sorted = (values: number[]) => values.sort((a, b) => a - b)

test('a division holds every element once; its first mode is the tile', () => {
  let divided = 0
  fc.assert(
    fc.property(fc.oneof(anyLayout, compactLayout), fc.oneof(compactLayout, holeyLayout), (l, tiler) => {
      const r = attempt(() => divide(l, tiler))
      if (!r) return
      divided++
      assert.is(r.rank, 2)
      assert.equal(sorted(offsets(r)), sorted(offsets(l)))
      assert.equal(offsets(mode(r, 0)), offsets(compose(l, tiler)))
      assert.equal(offsets(zippedDivide(l, tiler)), offsets(r))
    }),
    { numRuns: 2000 },
  )
  assert.ok(divided > 50, `only ${divided} pairs divided`)
})

test('a list of tilers divides each mode: tile (i, j) element (r, c) is row i·tile + r, column j·tile + c', () => {
  const factors = fc.constantFrom(1, 2, 3, 4)
  fc.assert(
    fc.property(factors, factors, factors, factors, fc.boolean(), anySwizzle, (tm, tn, m, n, xored, s) => {
      const l = swizzled(layout([tm * m, tn * n], [tn * n, 1]), xored ? s : undefined)
      const by = divide(l, [tm, tn])
      const zipped = zippedDivide(l, [tm, tn])
      const tiled = tiledDivide(l, [tm, tn])
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          for (let r = 0; r < tm; r++) {
            for (let c = 0; c < tn; c++) {
              const expected = l(i * tm + r, j * tn + c)
              assert.is(by([r, i], [c, j]), expected)
              assert.is(zipped([r, c], [i, j]), expected)
              assert.is(tiled([r, c], i, j), expected)
            }
          }
        }
      }
    }),
  )
})

test('known cases', () => {
  assert.is(divide(parseLayout('(4,2,3):(2,1,8)'), layout(4, 2)).id, '((2,2),(2,3)):((4,1),(2,8))')
  const a = parseLayout('(9,(4,8)):(59,(13,1))')
  const tiler = [layout(3, 3), layout([2, 4], [1, 8])]
  assert.is(divide(a, tiler).id, '((3,3),((2,4),(2,2))):((177,59),((13,2),(26,1)))')
  assert.is(zippedDivide(a, tiler).id, '((3,(2,4)),(3,(2,2))):((177,(13,2)),(59,(26,1)))')
  assert.is(tiledDivide(layout([4, 6, 5]), [2, 3]).id, '((2,3),2,2,5):((1,4),2,12,24)')
})

test('tiles that do not fill the layout are refused', () => {
  assert.is(
    refusal(() => divide(layout(10), 4)).message,
    'divide(10:1, 4:1): 10 offsets are not a whole number of repetitions of a layout that spans 4',
  )
  assert.match(refusal(() => divide(layout([4, 4]), [2, 3])).message, 'divide((4,4):(1,4), [2:1, 3:1])')
  assert.match(refusal(() => zippedDivide(layout([4, 4]), [2, 2, 2])).condition, 'rank 2')
  assert.match(refusal(() => tiledDivide(layout([4, 4]), [])).condition, 'a list of 0 tilers')
})

test.run()
