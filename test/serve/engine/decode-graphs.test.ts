import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { graphSizes, padDecodeStep } from '../../../serve/engine/decode-graphs.ts'

test('sizes rise to the largest, and leave few rows empty', () => {
  assert.equal(graphSizes(1), [1])
  assert.equal(graphSizes(6), [1, 2, 4, 6])
  assert.equal(graphSizes(40), [1, 2, 4, 8, 16, 24, 32, 40])
  const sizes = graphSizes(512)
  assert.is(sizes.at(-1), 512)
  for (let rows = 1; rows <= 512; rows++) {
    const empty = sizes.find((size) => size >= rows)! - rows
    assert.ok(empty <= Math.max(7, rows / 4), `${rows} rows have ${empty} empty ones`)
  }
  assert.ok(sizes.length < 50)
})

test('empty rows have no sequence, no place in the cache and no context', () => {
  const step = {
    ids: Int32Array.of(7, 8),
    positions: Int32Array.of(3, 64),
    slots: Int32Array.of(131, 64),
    queryStart: Int32Array.of(0, 1, 2),
    context: Int32Array.of(4, 65),
    prompts: Int32Array.of(0, 0),
    pages: Int32Array.of(2, 0, 5, 1),
    logitRows: Int32Array.of(0, 1),
  }
  const padded = padDecodeStep(step, 4, 2)
  assert.equal([...padded.slots], [131, 64, -1, -1])
  assert.equal([...padded.queryStart], [0, 1, 2, 2, 2])
  assert.equal([...padded.context], [4, 65, 0, 0])
  assert.equal([...padded.prompts], [0, 0, 0, 0])
  assert.equal([...padded.pages], [2, 0, 5, 1, 0, 0, 0, 0])
  assert.equal([...padded.logitRows], [0, 1, 2, 3])
})

test.run()
