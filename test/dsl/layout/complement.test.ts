import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { complement, concat, layout, parseLayout, swizzled, xorSwizzle } from '../../../dsl/layout/index.ts'
import { anyLayout, attempt, compactLayout, holeyLayout, offsets, refusal } from '../../support/layouts.ts'

const repeats = fc.integer({ min: 1, max: 4 })

test('a layout and its complement reach every offset below the cotarget exactly once, and the complement ascends', () => {
  let done = 0
  fc.assert(
    fc.property(fc.oneof(compactLayout, holeyLayout), repeats, (l, n) => {
      const span = Math.max(
        ...[l.stride].flat(9).map((d, i) => (d as number) * ([l.shape].flat(9)[i] as number)),
        1,
      )
      const rest = attempt(() => complement(l, span * n))
      assert.ok(rest)
      done++
      assert.is(l.size * rest.size, span * n)
      assert.equal(
        offsets(concat(l, rest)).sort((a, b) => a - b),
        Array.from({ length: span * n }, (_, i) => i),
      )
      const image = offsets(rest)
      for (let i = 1; i < image.length; i++) assert.ok(image[i]! > image[i - 1]!)
    }),
  )
  assert.ok(done > 100)
})

test('whatever layout is accepted, its offsets (broadcasts counted once) and the complement cover without overlap', () => {
  fc.assert(
    fc.property(anyLayout, repeats, (l, n) => {
      const rest = attempt(() => complement(l, l.cosize * n))
      if (!rest) return
      const sums = [...new Set(offsets(l))].flatMap((o) => offsets(rest).map((r) => o + r))
      assert.equal(
        sums.sort((a, b) => a - b),
        Array.from({ length: l.cosize * n }, (_, i) => i),
      )
    }),
  )
})

test('known cases', () => {
  const c = (id: string, n: number) => complement(parseLayout(id), n).id
  assert.is(c('4:1', 24), '6:4')
  assert.is(c('6:4', 24), '4:1')
  assert.is(c('(4,6):(1,4)', 24), '1:0')
  assert.is(c('4:2', 24), '(2,3):(1,8)')
  assert.is(c('(2,4):(1,6)', 24), '3:2')
  assert.is(c('(2,2):(1,6)', 24), '(3,2):(2,12)')
})

test('layouts without a complement are refused', () => {
  const condition = (id: string, n: number) => refusal(() => complement(parseLayout(id), n)).condition
  assert.match(
    condition('4:1', 10),
    '10 offsets are not a whole number of repetitions of a layout that spans 4',
  )
  assert.match(condition('(2,2):(1,1)', 8), 'mode 2:1 starts inside the 2 offsets')
  assert.match(condition('(2,2):(2,3)', 12), 'mode 2:3 starts inside the 4 offsets')
  assert.match(condition('(64,16):(1,72)', 1152), 'stride 72 is not a multiple of 64')
  assert.match(condition('4:1', 0), 'positive')
  const s = swizzled(layout([8, 8], [8, 1]), xorSwizzle(1, 0, 3))
  assert.is(refusal(() => complement(s, 64)).operands[0], s.id)
})

test.run()
