import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compose, layout, modesOf, parseLayout, swizzle, swizzled } from '../../../dsl/layout/index.ts'
import {
  anyLayout,
  anySwizzle,
  attempt,
  compactLayout,
  coordOf,
  holeyLayout,
  leavesOf,
  offsets,
  refusal,
} from '../../support/layouts.ts'

const outer = fc.oneof(anyLayout, compactLayout, holeyLayout)
const inner = fc.oneof(anyLayout, compactLayout)

/** Whether f(0), f(1), ... is what some layout of that many coordinates gives. */
function isLayoutFunction(f: readonly number[]): boolean {
  let run = 1
  while (run < f.length && f[run] === run * f[1]!) run++
  if (run === f.length) return f[0] === 0
  for (let tile = 2; tile <= run; tile++) {
    if (f.length % tile !== 0) continue
    const repeats = f.every((value, i) => value === f[i % tile]! + f[i - (i % tile)]!)
    if (repeats && isLayoutFunction(f.filter((_, i) => i % tile === 0))) return true
  }
  return false
}

/** Whether a(b(i)) is a sum of one layout function per integer mode of b. */
function isComposable(a: (i: number) => number, b: ReturnType<typeof layout>): boolean {
  let step = 1
  const parts = leavesOf(b.shape).map((extent) => {
    const from = step
    step *= extent
    return Array.from({ length: extent }, (_, j) => a(b(j * from)))
  })
  if (!parts.every(isLayoutFunction)) return false
  return offsets(b).every((offset, i) => {
    let index = i
    const sum = parts.reduce((n, part) => {
      const value = part[index % part.length]!
      index = Math.floor(index / part.length)
      return n + value
    }, 0)
    return sum === a(offset)
  })
}

test('the composition is a(b(i)), and takes every coordinate of b; a refusal is seldom of one that exists', () => {
  let composed = 0
  let impossible = 0
  let missed = 0
  fc.assert(
    fc.property(outer, inner, (a, b) => {
      const r = attempt(() => compose(a, b))
      if (r) {
        composed++
        for (let i = 0; i < b.size; i++) {
          assert.is(r(i), a(b(i)))
          const coord = coordOf(b.shape, i)
          if (Array.isArray(coord)) assert.is(r(...coord), a(b(i)))
        }
      } else if (b.cosize > a.size || !isComposable(a, b)) impossible++
      else missed++
    }),
    { numRuns: 3000 },
  )
  assert.ok(composed > 500, `only ${composed} pairs composed`)
  assert.ok(
    missed < 0.05 * impossible,
    `${missed} possible compositions refused, ${impossible} impossible ones`,
  )
})

test('a compact layout composes with itself reshaped, and with the identity on either side', () => {
  fc.assert(
    fc.property(anyLayout, (l) => {
      assert.equal(offsets(compose(l, layout(l.size))), offsets(l))
      assert.equal(offsets(compose(layout(l.cosize), l)), offsets(l))
      assert.equal(offsets(compose(l, layout(l.shape))), offsets(l))
    }),
  )
})

test('a list of tilers applies to the modes', () => {
  const a = parseLayout('(12,(4,8)):(59,(13,1))')
  const r = compose(a, [layout(3, 4), layout(8, 2)])
  assert.is(r.id, '(3,(2,4)):(236,(26,1))')
  assert.equal(modesOf(r).map(offsets), [
    offsets(compose(modesOf(a)[0]!, layout(3, 4))),
    offsets(compose(modesOf(a)[1]!, layout(8, 2))),
  ])
  assert.is(compose(a, [3]).id, '(3,(4,8)):(59,(13,1))')
})

test('a swizzle of the outer layout is kept', () => {
  fc.assert(
    fc.property(compactLayout, inner, anySwizzle, (a, b, s) => {
      const r = attempt(() => compose(swizzled(a, s), b))
      if (!r) return
      const expected = swizzled(a, s)
      for (let i = 0; i < b.size; i++) assert.is(r(i), expected(b(i)))
    }),
  )
})

test('known cases', () => {
  const c = (a: string, b: string) => compose(parseLayout(a), parseLayout(b)).id
  assert.is(c('(6,2):(8,2)', '(4,3):(3,1)'), '((2,2),3):((24,2),8)')
  assert.is(c('20:2', '(5,4):(4,1)'), '(5,4):(8,2)')
  assert.is(c('(10,2):(16,4)', '(5,4):(1,5)'), '(5,(2,2)):(16,(80,4))')
  assert.is(c('(4,6,8,10):(2,3,5,7)', '6:12'), '(2,3):(9,5)')
  assert.is(c('8:3', '4:0'), '4:0')
})

test('what is no layout is refused, with both layouts and the condition', () => {
  const message = (a: string, b: string) => refusal(() => compose(parseLayout(a), parseLayout(b))).message
  assert.is(
    message('(6,2):(8,2)', '3:4'),
    'compose((6,2):(8,2), 3:4): stride 4 neither divides extent 6 of the outer layout nor is a multiple of it',
  )
  assert.is(
    message('(2,3):(3,1)', '3:1'),
    'compose((2,3):(3,1), 3:1): 3 steps of 1 do not fill extent 2 of the outer layout evenly',
  )
  assert.is(
    message('(4,2):(1,10)', '(2,2):(2,3)'),
    'compose((4,2):(1,10), (2,2):(2,3)): modes of the inner layout add up to 5 inside the mode 4:1 of the outer one, ' +
      'and would carry into the next',
  )
  assert.is(
    message('8:1', '3:4'),
    'compose(8:1, 3:4): the inner layout reaches index 8, but the outer one has 8 elements',
  )
  const tile = swizzled(layout([8, 128], [128, 1]), swizzle(128))
  assert.match(refusal(() => compose(layout(1024), tile)).condition, 'swizzled')
  assert.match(
    refusal(() => compose(layout([4, 4]), [2, 2, 2])).message,
    '[2:1, 2:1, 2:1]): a tiler of 3 modes',
  )
})

test.run()
