import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packWindows, readDocuments } from '../../quantize/calibration.ts'
import { QuantizeError } from '../../quantize/error.ts'
import { rng } from '../support/rng.ts'

const { integer } = rng(21)
const documents = Array.from({ length: 30 }, (_, d) =>
  Array.from({ length: integer(3, 40) }, (_, i) => 1000 * d + i),
)

test('a window is whole documents one after the other, but for its ends; none is in two windows', () => {
  const { ids, window } = packWindows(documents, { windows: 8, window: 32, seed: 1 })
  assert.equal([ids.length, window], [8 * 32, 32])
  assert.is(new Set(ids).size, ids.length)
  for (let start = 0; start < ids.length; start += 32) {
    const part = ids.subarray(start, start + 32)
    part.forEach((id, i) => {
      const before = part[i - 1]
      if (before === undefined || id === before + 1) return
      assert.is(id % 1000, 0, 'a document begins at its beginning')
      assert.is(before % 1000, documents[Math.floor(before / 1000)]!.length - 1, 'behind the end of another')
    })
  }
})

test('one seed draws the same windows, another one others; of one long text they lie all over it', () => {
  const draw = (seed: number) => [...packWindows(documents, { windows: 6, window: 16, seed }).ids]
  assert.equal(draw(3), draw(3))
  assert.not.equal(draw(3), draw(4))
  const long = [Array.from({ length: 64_000 }, (_, i) => i)]
  const { ids } = packWindows(long, { windows: 20, window: 64, seed: 5 })
  assert.ok(Math.min(...ids) < 16_000 && Math.max(...ids) > 48_000)
})

test('text that is too short is refused with what it is enough for', () => {
  try {
    packWindows([[1, 2, 3, 4, 5]], { windows: 3, window: 2, seed: 0 })
    assert.unreachable()
  } catch (error) {
    assert.instance(error, QuantizeError)
    assert.match((error as Error).message, '5 tokens, enough for 2 windows of 2, and 3 are asked for')
  }
})

test('JSONL has a document to a line, whatever the field; other text is one document', () => {
  const lines = ['{"text": "a b"}', '', '{"content": "c", "id": 3}', '"d\\n"', '{"prompt": ""}']
  assert.equal(readDocuments('x.jsonl', lines.join('\n')), ['a b', 'c', 'd\n', ''])
  assert.equal(readDocuments('x.txt', lines.join('\n')), [lines.join('\n')])
  for (const [line, word] of [
    ['{"text": 3}', 'no text'],
    ['{"text"', 'not JSON'],
    ['null', 'no text'],
  ] as const)
    assert.throws(
      () => readDocuments('x.jsonl', `${lines[0]}\n${line}`),
      (error: unknown) =>
        error instanceof QuantizeError && error.message.startsWith(`x.jsonl, line 2: ${word}`),
    )
})

test.run()
