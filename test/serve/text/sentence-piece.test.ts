import { Tokenizer as Oracle } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Detokenizer } from '../../../serve/text/detokenizer.ts'
import { createSeamCutter } from '../../../serve/text/seams.ts'
import { createTokenizer } from '../../../serve/text/tokenizer.ts'
import { llama2File, mistralFile } from '../../support/sentence-piece-files.ts'
import { tortureTexts } from '../../support/torture-texts.ts'

const llama2 = llama2File()
const corpus = tortureTexts()

function assertEqualsOracle(json: ReturnType<typeof llama2File>, texts: readonly string[]): void {
  const ours = createTokenizer('file', json)
  const oracle = new Oracle(json, {})
  for (const text of texts)
    for (const addSpecial of [true, false]) {
      const expected = oracle.encode(text, { add_special_tokens: addSpecial }).ids
      assert.equal(ours.encode(text, { addSpecial }), expected, JSON.stringify(text))
    }
}

test("the layout of Llama 2's file encodes the torture corpus like the reference library", () => {
  assertEqualsOracle(llama2, corpus)
})

test("the layout of Mistral's file encodes the torture corpus like the reference library", () => {
  assertEqualsOracle(mistralFile(), corpus)
})

for (const prepend_scheme of ['always', 'never'])
  test(`a space is put ${prepend_scheme} before a text, like the reference library`, () => {
    const file = mistralFile()
    file.pre_tokenizer = { type: 'Metaspace', replacement: '▁', prepend_scheme, split: false }
    assertEqualsOracle(file, corpus)
  })

test('merges that reach from one word into the next are found', () => {
  const file = llama2File({ crossWords: true })
  assert.ok(Object.keys(file.model.vocab).some((entry) => /[^▁]▁/.test(entry)))
  assertEqualsOracle(file, corpus)
})

test('an added token that is looked for in the normalized text is normalized itself', () => {
  const file = llama2File()
  const token = { single_word: false, lstrip: false, rstrip: false, special: false }
  file.added_tokens.push({ ...token, id: 5000, content: 'to ol', normalized: true })
  const ids = createTokenizer('file', file).encode('to ol x to ol', { addSpecial: false })
  assert.is(ids.filter((id) => id === 5000).length, 2)
  assertEqualsOracle(file, ['to ol x to ol', 'xto ol', 'x to  ol'])
})

test('with split each run of spaces is cut before its last', () => {
  const file = mistralFile()
  file.pre_tokenizer = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true }
  const tokenizer = createTokenizer('file', file)
  const one = (entry: string) => file.model.vocab[entry]!
  assert.ok('▁▁' in file.model.vocab)
  assert.equal(tokenizer.encode('  x', { addSpecial: false }), [one('▁'), one('▁'), one('x')])
})

test('decode gives back every text of valid Unicode, and so does the stream', () => {
  for (const file of [llama2, mistralFile()]) {
    const tokenizer = createTokenizer('file', file)
    const text = fc.string({ unit: 'binary', maxLength: 100 }).filter((x) => !x.includes('▁'))
    fc.assert(
      fc.property(text, (x) => {
        // The newer layout takes a text's own first space for the one that it would have added.
        const expected = file.normalizer === null && x.startsWith(' ') ? x.slice(1) : x
        const ids = tokenizer.encode(x)
        assert.is(tokenizer.decode(ids), expected)
        const stream = new Detokenizer(tokenizer)
        assert.is(ids.map((id) => stream.push(id)).join('') + stream.end(), expected)
      }),
      { numRuns: 500, seed: 12 },
    )
  }
})

test('decode of any ids is that of the reference library', () => {
  const tokenizer = createTokenizer('file', llama2)
  const oracle = new Oracle(llama2, { clean_up_tokenization_spaces: false })
  const ids = fc.array(fc.integer({ min: 0, max: tokenizer.vocabSize - 1 }), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(ids, (x) => {
      // The library drops byte order marks that bytes make, which text may have.
      const expected = oracle.decode(x, { skip_special_tokens: true })
      if (!tokenizer.decode(x).includes('\ufeff')) assert.is(tokenizer.decode(x), expected)
    }),
    { numRuns: 2000, seed: 13 },
  )
})

test('a text that continues another keeps the space that it begins with', () => {
  const tokenizer = createTokenizer('file', llama2)
  const ids = tokenizer.encode('the end', { addSpecial: false })
  const textOf = (continues: boolean) => {
    const stream = new Detokenizer(tokenizer, { continues })
    return ids.map((id) => stream.push(id)).join('') + stream.end()
  }
  assert.is(textOf(false), 'the end')
  assert.is(textOf(true), ' the end')
})

test('a text is cut between characters that no merge joins, and nowhere else', () => {
  const cut = createSeamCutter(['▁the', 'he', 'e,', '中文'])
  assert.equal(cut('▁the,▁the'), ['▁the,', '▁the'])
  assert.equal(cut('12he▁'), ['1', '2', 'he', '▁'])
  assert.equal(cut('x中文字😀y'), ['x', '中文字😀', 'y'])
  assert.equal(cut(''), [])
})

test('a vocabulary without one of the bytes is refused', () => {
  const file = llama2File({ merges: 5 })
  delete file.model.vocab['<0x0A>']
  assert.throws(() => createTokenizer('dir/tokenizer.json', file), /dir\/tokenizer\.json: .* lacks <0x0A>/)
})

test('a decoder of another kind is refused', () => {
  const file = llama2File({ merges: 5 })
  file.decoder = { type: 'WordPiece' }
  assert.throws(() => createTokenizer('x', file), 'the decoder {"type":"WordPiece"} is not supported')
})

test.run()
