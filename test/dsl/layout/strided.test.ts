import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { strided } from '../../../dsl/layout/index.ts'
import { offsets, refusal } from '../../support/layouts.ts'

test('threads share all elements, each in runs of vec neighbours', () => {
  const n = fc.integer({ min: 1, max: 8 })
  fc.assert(
    fc.property(n, n, n, (threads, vec, turns) => {
      const l = strided(threads * vec * turns, { threads, vec })
      assert.equal(
        offsets(l).sort((a, b) => a - b),
        Array.from({ length: l.size }, (_, i) => i),
      )
      for (let t = 0; t < threads; t++) {
        for (let v = 0; v < vec * turns; v++) {
          assert.is(l(t, v), Math.floor(v / vec) * threads * vec + t * vec + (v % vec))
        }
      }
    }),
  )
})

test('elements that do not divide are refused', () => {
  assert.match(refusal(() => strided(100, { threads: 32, vec: 4 })).condition, 'not a multiple of 128')
})

test.run()
