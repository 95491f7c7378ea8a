import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Turns } from '../../../serve/schedule/turns.ts'

test('a client that comes late has its turn next, not after all that were before', () => {
  const turns = new Turns()
  assert.equal(
    ['a', 'a', 'a', 'b'].map((client) => turns.take(client)),
    [1, 2, 3, 1],
  )
  turns.serve(2)
  assert.is(turns.take('c'), 3)
  assert.is(turns.take('a'), 4)
})

test('a client without requests is forgotten', () => {
  const turns = new Turns()
  turns.take('a')
  turns.take('a')
  turns.leave('a')
  assert.is(turns.clients, 1)
  turns.leave('a')
  assert.is(turns.clients, 0)
})

test.run()
