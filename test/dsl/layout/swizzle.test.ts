import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { rowMajor, swizzle, swizzled, swizzleOffset, xorSwizzle } from '../../../dsl/layout/index.ts'
import { anySwizzle, refusal } from '../../support/layouts.ts'

test('a swizzle is its own inverse, permutes each aligned block of its span, and keeps runs of 2^base together', () => {
  fc.assert(
    fc.property(anySwizzle, fc.integer({ min: 0, max: 5 }), (s, block) => {
      const span = 2 ** (s.base + s.shift + s.bits)
      const seen = new Set<number>()
      for (let i = 0; i < span; i++) {
        const offset = block * span + i
        const moved = swizzleOffset(s, offset)
        assert.is(swizzleOffset(s, moved), offset)
        assert.is(Math.floor(moved / span), block)
        assert.is(moved % 2 ** s.base, offset % 2 ** s.base)
        seen.add(moved)
      }
      assert.is(seen.size, span)
    }),
  )
})

test('the named swizzles give the eight rows of a column eight different 16-byte bank groups, per repetition', () => {
  for (const bytes of [32, 64, 128] as const) {
    const tile = swizzled(rowMajor([8, bytes]), swizzle(bytes))
    for (let column = 0; column < bytes; column += 16) {
      const groups = Array.from({ length: 8 }, (_, row) => Math.floor(tile(row, column) / 16) % 8)
      assert.is(new Set(groups).size, 8)
    }
  }
})

test('the named swizzles are those of the hardware, in units of the element', () => {
  assert.is(swizzle(128)!.id, 'Sw<3,4,3>')
  assert.is(swizzle(64)!.id, 'Sw<2,4,3>')
  assert.is(swizzle(32)!.id, 'Sw<1,4,3>')
  assert.is(swizzle(128, 16)!.id, 'Sw<3,3,3>')
  assert.is(swizzle(64, 4)!.id, 'Sw<2,5,3>')
  assert.is(swizzle(0), undefined)
})

test('what is no swizzle is refused', () => {
  assert.match(refusal(() => xorSwizzle(3, 4, 2)).condition, 'overlap')
  assert.match(refusal(() => xorSwizzle(0, 4, 3)).condition, 'at least one bit')
  assert.match(refusal(() => xorSwizzle(1, -1, 3)).condition, 'not negative')
  assert.match(refusal(() => xorSwizzle(3, 26, 3)).condition, 'below bit 31')
  assert.match(refusal(() => swizzle(48 as 32)).condition, '0, 32, 64 or 128')
  assert.match(refusal(() => swizzle(128, 12)).condition, 'power of two')
})

test.run()
