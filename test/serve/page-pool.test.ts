import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PagePool } from '../../serve/page-pool.ts'
import { rng } from '../support/rng.ts'

test('pages are taken lowest first, and none when there are too few', () => {
  const pool = new PagePool(4)
  assert.equal(pool.take(3), [0, 1, 2])
  assert.is(pool.take(2), undefined)
  assert.is(pool.available, 1)
  assert.equal(pool.take(1), [3])
  assert.equal(pool.take(0), [])
  assert.is(pool.take(1), undefined)
})

test('no page is ever held twice, and all come back', () => {
  const random = rng(12)
  const pool = new PagePool(50)
  let held: number[][] = []
  for (let turn = 0; turn < 500; turn++) {
    if (held.length > 0 && random.uniform() < 0.5) {
      const [back] = held.splice(random.integer(0, held.length - 1), 1)
      pool.giveBack(back!)
    } else {
      const count = random.integer(0, 12)
      const before = pool.available
      const pages = pool.take(count)
      assert.is(pages === undefined, count > before)
      if (pages) held.push(pages)
    }
    const all = held.flat()
    assert.is(new Set(all).size, all.length)
    assert.ok(all.every((page) => page >= 0 && page < 50))
    assert.is(pool.available, 50 - all.length)
  }
  for (const pages of held) pool.giveBack(pages)
  held = []
  assert.equal(new Set(pool.take(50)).size, 50)
})

test.run()
