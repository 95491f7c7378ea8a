import { readFileSync } from 'node:fs'
import { Tokenizer as Oracle } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { TextError } from '../../../serve/text/error.ts'
import { createTokenizer, loadTokenizer } from '../../../serve/text/tokenizer.ts'
import { tortureTexts } from '../../support/torture-texts.ts'

const folder = new URL('../../../examples/models/nano-w4a8kv4/', import.meta.url)
const file = JSON.parse(readFileSync(new URL('tokenizer.json', folder), 'utf8'))
const tokenizerConfig = JSON.parse(readFileSync(new URL('tokenizer_config.json', folder), 'utf8'))
const nano = createTokenizer('nano', file)

const changed = (change: (copy: typeof file) => void): typeof file => {
  const copy = structuredClone(file)
  change(copy)
  return copy
}

const corpus = tortureTexts()

function assertEqualsOracle(json: typeof file, texts: readonly string[]): void {
  const ours = createTokenizer('file', json)
  const oracle = new Oracle(json, tokenizerConfig)
  for (const text of texts)
    for (const addSpecial of [true, false]) {
      const expected = oracle.encode(text, { add_special_tokens: addSpecial }).ids
      assert.equal(ours.encode(text, { addSpecial }), expected, JSON.stringify(text))
    }
}

test('encodes every text of the torture corpus like the reference library', () => {
  assertEqualsOracle(file, corpus)
})

test('the pattern and normalizer of Qwen 2 split like the reference library', () => {
  const qwen = changed((copy) => {
    copy.normalizer = { type: 'NFC' }
    copy.pre_tokenizer.pretokenizers[0].pattern.Regex =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    copy.post_processor = {
      type: 'ByteLevel',
      add_prefix_space: false,
      trim_offsets: false,
      use_regex: false,
    }
  })
  assertEqualsOracle(qwen, corpus)
})

test('the pattern of GPT-2, implied by ByteLevel, splits like the reference library', () => {
  const gpt2 = changed((copy) => {
    copy.pre_tokenizer = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  })
  // The library takes JavaScript's white space here, in which U+FEFF is and U+0085 is not; Unicode says otherwise.
  assertEqualsOracle(
    gpt2,
    corpus.filter((text) => !/[\ufeff\u0085]/.test(text)),
  )
})

test('digits are cut one by one where the file says so', () => {
  const digits = changed((copy) => {
    copy.pre_tokenizer.pretokenizers.unshift({ type: 'Digits', individual_digits: true })
  })
  assertEqualsOracle(digits, ['12345', 'a1b22c333', '٣٤ 1 2'])
})

test('merges written as one string are the same merges', () => {
  const strings = changed((copy) => {
    copy.model.merges = copy.model.merges.map((pair: string[]) => pair.join(' '))
  })
  assertEqualsOracle(strings, corpus.slice(0, 200))
})

test('with ignore_merges a piece that is an entry is taken whole, although merges do not reach it', () => {
  const whole = changed((copy) => {
    copy.model.ignore_merges = true
    copy.model.vocab.Ġxqzj = 4096
  })
  assert.equal(createTokenizer('file', whole).encode(' xqzj', { addSpecial: false }), [4096])
  whole.model.ignore_merges = false
  assert.ok(createTokenizer('file', whole).encode(' xqzj', { addSpecial: false }).length > 1)
})

test('among added tokens that begin together the longest wins, and white space goes where its flags say', () => {
  const more = changed((copy) => {
    const token = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false }
    copy.added_tokens.push(
      { ...token, id: 4096, content: '<tool>' },
      { ...token, id: 4097, content: '<tool>s' },
    )
    copy.added_tokens.push({ ...token, id: 4098, content: '<mask>', lstrip: true, rstrip: true })
  })
  const tokenizer = createTokenizer('file', more)
  const ids = (text: string) => tokenizer.encode(text, { addSpecial: false })
  assert.equal(ids('<tool>s<tool>'), [4097, 4096])
  assert.equal(ids('x  <mask>  x'), [...ids('x'), 4098, ...ids('x')])
  assert.equal(tokenizer.decode([4097, 4096]), '<tool>s<tool>')
  assertEqualsOracle(more, ['a <tool> b', 'x <mask> y', '<tool><tool>s <eot_id>'])
})

test('decode gives back every text of valid Unicode', () => {
  const text = fc.string({ unit: 'binary', maxLength: 200 })
  fc.assert(
    fc.property(text, (x) => nano.decode(nano.encode(x), { skipSpecial: true }) === x),
    { numRuns: 2000, seed: 11 },
  )
  for (const x of corpus)
    assert.is(
      nano.decode(nano.encode(x, { addSpecial: false }), { skipSpecial: false }),
      x.replace(/\p{Surrogate}/gu, '\ufffd'),
    )
})

test('decode leaves special tokens out unless asked, and unknown ids stand for nothing', () => {
  const ids = [0, ...nano.encode('a fox', { addSpecial: false }), 5, 4096, 1e9]
  assert.is(nano.decode(ids), 'a fox')
  assert.is(nano.decode(ids, { skipSpecial: false }), '<|begin_of_text|>a fox<|eot_id|>')
  assert.is(nano.vocabSize, 4096)
  assert.is(nano.idOf('<|eot_id|>'), 5)
  assert.ok(nano.isSpecial(5))
  assert.not(nano.isSpecial(300))
})

test('a run of a hundred thousand letters, which is one piece, is merged in well under a second a megabyte', () => {
  const before = process.cpuUsage()
  const ids = nano.encode('ab'.repeat(50_000) + ' '.repeat(100_000))
  assert.ok(process.cpuUsage(before).user < 5e6, 'merging is not quadratic')
  assert.is(nano.decode(ids).length, 200_000)
})

test('tokenizers of other kinds are refused by name', () => {
  const refusal = (json: unknown): string => {
    try {
      createTokenizer('dir/tokenizer.json', json)
    } catch (error) {
      assert.instance(error, TextError)
      return (error as Error).message
    }
    return 'accepted'
  }
  const characters = changed((copy) => {
    copy.pre_tokenizer = null
    copy.decoder = null
  })
  assert.match(
    refusal(characters),
    'dir/tokenizer.json is a BPE tokenizer, which is not supported; byte-level BPE',
  )
  assert.match(
    refusal(changed((copy) => (copy.model = { type: 'Unigram', vocab: [['a', -1]] }))),
    'is a Unigram tokenizer',
  )
  assert.match(refusal({ model: 3 }), 'model: ')
  assert.match(
    refusal(changed((copy) => delete copy.model.vocab.Ġ)),
    /merge \d+, \[.*Ġ.*\], is not made of vocabulary entries/,
  )
  assert.match(refusal(changed((copy) => (copy.model.merges[3] = null))), 'merge 3, null')
  assert.match(refusal(changed((copy) => (copy.model.vocab.a = 1e12))), 'the id 1000000000000')
  assert.match(refusal(changed((copy) => (copy.normalizer = { type: 'Lowercase' }))), 'the normalizer')
  assert.match(
    refusal(changed((copy) => (copy.added_tokens[0].single_word = true))),
    'single_word is not supported',
  )
  const pattern = (regex: string) =>
    refusal(changed((copy) => (copy.pre_tokenizer.pretokenizers[0].pattern.Regex = regex)))
  for (const regex of ['\\p{L}++', '[a-z&&[^b]]', '^a', '\\bx', '(?<n>a)', '(?i:[a-z])', '\\X'])
    assert.match(pattern(regex), 'cannot be used', regex)
})

test('a folder without tokenizer.json is told so', () => {
  assert.throws(() => loadTokenizer('/nonexistent'), '/nonexistent/tokenizer.json is missing')
})

test.run()
