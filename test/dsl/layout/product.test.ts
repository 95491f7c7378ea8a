import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  blockedProduct,
  layout,
  mode,
  parseLayout,
  product,
  rowMajor,
  swizzle,
  swizzled,
  xorSwizzle,
} from '../../../dsl/layout/index.ts'
import { anyLayout, attempt, compactLayout, holeyLayout, offsets, refusal } from '../../support/layouts.ts'

test('a product repeats the tile at distinct places in the arrangement of the tiling', () => {
  let made = 0
  fc.assert(
    fc.property(fc.oneof(compactLayout, holeyLayout), fc.oneof(anyLayout, compactLayout), (tile, tiling) => {
      const r = attempt(() => product(tile, tiling))
      if (!r || tile.size * tiling.size > 20_000) return
      made++
      assert.is(r.rank, 2)
      assert.equal(offsets(mode(r, 0)), offsets(tile))
      const [base, copies] = [offsets(tiling), offsets(mode(r, 1))]
      for (let i = 0; i < base.length; i++) {
        for (let j = 0; j < i; j++) assert.is(copies[i] === copies[j], base[i] === base[j])
        for (let j = 0; j < i; j++) assert.is(copies[i]! > copies[j]!, base[i]! > base[j]!)
      }
      assert.is(new Set(offsets(r)).size, tile.size * new Set(base).size)
    }),
  )
  assert.ok(made > 100, `only ${made} products made`)
})

test('a compact tile repeated by a compact tiling is compact', () => {
  fc.assert(
    fc.property(compactLayout, fc.integer({ min: 1, max: 6 }), (tile, n) => {
      const r = product(tile, layout(n))
      assert.equal(
        offsets(r).sort((a, b) => a - b),
        Array.from({ length: tile.size * n }, (_, i) => i),
      )
    }),
  )
})

test('a blocked product keeps tiles as blocks of rows and columns', () => {
  const r = blockedProduct(rowMajor([2, 5]), layout([3, 4]))
  assert.is(r.id, '((2,3),(5,4)):((5,10),(1,30))')
  for (let row = 0; row < 6; row++) {
    for (let column = 0; column < 20; column++) {
      const tile = Math.floor(row / 2) + 3 * Math.floor(column / 5)
      assert.is(r(row, column), 10 * tile + 5 * (row % 2) + (column % 5))
    }
  }
})

test('a swizzle and the padding of the tile stay', () => {
  const atom = swizzled(rowMajor([8, 128]), swizzle(128))
  const tile = blockedProduct(atom, layout([4, 2]))
  assert.is(tile.swizzle!.id, 'Sw<3,4,3>')
  assert.is(new Set(offsets(tile)).size, 8 * 128 * 8)
  for (let row = 0; row < 8; row++) assert.is(tile(row, 17), atom(row, 17))
  assert.is(product(parseLayout('(16,64):(72,1)'), layout(3)).id, '((16,64),3):((72,1),1152)')
})

test('known cases', () => {
  assert.is(product(parseLayout('(2,2):(4,1)'), layout(6)).id, '((2,2),(2,3)):((4,1),(2,8))')
  assert.is(product(parseLayout('(2,2):(4,1)'), parseLayout('(4,2):(2,1)')).id, '((2,2),(4,2)):((4,1),(8,2))')
})

test('products that are no layout are refused', () => {
  assert.match(
    refusal(() => product(layout(4, 2), layout(3))).message,
    'product(4:2, 3:1): 3 steps of 1 do not fill extent 2',
  )
  assert.match(refusal(() => product(parseLayout('(2,2):(1,1)'), layout(2))).condition, 'starts inside')
  assert.match(
    refusal(() => blockedProduct(layout([2, 2]), layout(4))).condition,
    'the ranks differ: 2 and 1',
  )
  const s = swizzled(rowMajor([8, 8]), xorSwizzle(1, 0, 3))
  assert.match(refusal(() => product(layout(4), s)).condition, 'swizzled')
})

test.run()
