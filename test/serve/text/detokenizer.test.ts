import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Detokenizer } from '../../../serve/text/detokenizer.ts'
import { loadTokenizer } from '../../../serve/text/tokenizer.ts'

const tokenizer = loadTokenizer(
  fileURLToPath(new URL('../../../examples/models/nano-w4a8kv4/', import.meta.url)),
)

function pieces(ids: readonly number[], skipSpecial = true): string[] {
  const detokenizer = new Detokenizer(tokenizer, { skipSpecial })
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.end()]
}

test('the pieces of any ids join to what decode gives, special tokens or not', () => {
  const ids = fc.array(fc.integer({ min: 0, max: tokenizer.vocabSize + 3 }), { maxLength: 60 })
  fc.assert(
    fc.property(ids, fc.boolean(), (x, skipSpecial) => {
      assert.is(pieces(x, skipSpecial).join(''), tokenizer.decode(x, { skipSpecial }))
    }),
    { numRuns: 1000, seed: 3 },
  )
})

test('no piece of valid text has a half character or a replacement character', () => {
  const text = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
    .filter((x) => !x.includes('\ufffd'))
  fc.assert(
    fc.property(text, (x) => {
      for (const piece of pieces(tokenizer.encode(x)))
        assert.ok(!/\p{Surrogate}/u.test(piece) && !piece.includes('\ufffd'), JSON.stringify(piece))
    }),
    { numRuns: 500, seed: 5 },
  )
})

test('a character in four tokens appears with the last of them', () => {
  const ids = tokenizer.encode('𒀀', { addSpecial: false })
  assert.is(ids.length, 4)
  assert.equal(pieces(ids), ['', '', '', '𒀀', ''])
  assert.equal(pieces(ids.slice(0, 3)), ['', '', '', '\ufffd'])
})

test('a byte order mark is text like any other', () => {
  assert.is(pieces(tokenizer.encode('\ufeffa')).join(''), '\ufeffa')
})

test.run()
