import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { TextError } from '../../../serve/text/error.ts'
import { loadTokenizer } from '../../../serve/text/tokenizer.ts'
import { temporaryFolder } from '../../support/run-cli.ts'
import { llama2File } from '../../support/sentence-piece-files.ts'
import {
  bytesField,
  type ModelPiece,
  numberField,
  sentencePieceModel,
} from '../../support/sentence-piece-model.ts'
import { tortureTexts } from '../../support/torture-texts.ts'

const entries: string[] = []
for (const [entry, id] of Object.entries(llama2File().model.vocab)) entries[id] = entry
/** As in the files of Llama 2: `<unk> <s> </s>`, the bytes, then pieces whose scores fall. */
const pieces = entries.map((text, id): ModelPiece => {
  const kind = id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1
  return { text, score: kind === 1 ? 259 - id : 0, kind }
})

function folderWith(model: Uint8Array, settings?: object): string {
  const folder = temporaryFolder()
  writeFileSync(join(folder, 'tokenizer.model'), model)
  if (settings) writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(settings))
  return folder
}

/** SentencePiece's own way: of all neighbours that make a piece, the two that make the best are joined, the first first. */
function reference(text: string): number[] {
  if (text === '') return []
  const scores = new Map(
    pieces.filter(({ kind }) => kind === 1).map(({ text: piece, score }) => [piece, score]),
  )
  const symbols = Array.from(`▁${text.replaceAll(' ', '▁')}`)
  for (;;) {
    let best = -1
    for (let i = 0; i + 1 < symbols.length; i++) {
      const score = scores.get(symbols[i]! + symbols[i + 1]!)
      if (score !== undefined && (best < 0 || score > scores.get(symbols[best]! + symbols[best + 1]!)!))
        best = i
    }
    if (best < 0) break
    symbols.splice(best, 2, symbols[best]! + symbols[best + 1]!)
  }
  return symbols.flatMap((symbol) => {
    const id = entries.indexOf(symbol)
    return id >= 259 ? [id] : [...Buffer.from(symbol)].map((byte) => byte + 3)
  })
}

const tokenizer = loadTokenizer(folderWith(sentencePieceModel(pieces)))

test('a tokenizer.model encodes as SentencePiece does, and decodes to what it was', () => {
  const texts = tortureTexts().filter((text) => text.length < 400 && !/<\/?s>|<unk>/.test(text))
  for (const text of texts) {
    const ids = tokenizer.encode(text, { addSpecial: false })
    assert.equal(ids, reference(text), JSON.stringify(text))
    assert.is(tokenizer.decode(ids), Buffer.from(text).toString().replaceAll('▁', ' '))
  }
  const words = fc.array(fc.constantFrom('the', 'an', 'ing', ' ', 'fox', '  ', 'é', '中', '1', 'Qu'), {
    maxLength: 30,
  })
  fc.assert(
    fc.property(words, (x) =>
      assert.equal(tokenizer.encode(x.join(''), { addSpecial: false }), reference(x.join(''))),
    ),
    { numRuns: 300, seed: 92 },
  )
})

test('what stands around a text, and tokens that are added, are those of tokenizer_config.json', () => {
  assert.equal(tokenizer.encode('the')[0], 1)
  assert.ok(tokenizer.isSpecial(1) && tokenizer.isSpecial(0))
  const settings = {
    add_bos_token: false,
    add_eos_token: true,
    added_tokens_decoder: { [entries.length]: { content: '<|im_start|>', special: true, lstrip: false } },
  }
  const other = loadTokenizer(folderWith(sentencePieceModel(pieces), settings))
  const ids = other.encode('<|im_start|>the')
  assert.equal([ids[0], ids.at(-1)], [entries.length, 2])
  assert.is(other.vocabSize, entries.length + 1)
})

test('what is no such model is refused in a sentence', () => {
  const fails = (model: Uint8Array, message: string) =>
    assert.throws(
      () => loadTokenizer(folderWith(model)),
      (error: unknown) => error instanceof TextError && error.message.includes(message),
    )
  fails(Uint8Array.of(), 'has no vocabulary')
  fails(sentencePieceModel(pieces, { type: 1 }), 'is no BPE')
  fails(sentencePieceModel(pieces, { removes: 1 }), 'changes texts in ways that are not supported')
  fails(sentencePieceModel([...pieces, pieces[300]!]), 'is twice in the vocabulary')
  fails(sentencePieceModel(pieces.slice(0, 100)), 'lacks')
  fails(Uint8Array.from(bytesField(1, bytesField(1, [0xff, 0xfe]))), 'no UTF-8')
  fails(Uint8Array.from(bytesField(1, [...bytesField(1, [0x61]), ...numberField(3, 9)])), 'makes no sense')
  fails(Uint8Array.from([...Buffer.from('{"version": 1}')]), 'is no model of SentencePiece')
})

test('bytes that are changed or cut off are never taken for something else than a model, or it is said', () => {
  const small = sentencePieceModel(pieces.slice(0, 400))
  fc.assert(
    fc.property(fc.nat(small.length - 1), fc.nat(255), fc.boolean(), (at, byte, cut) => {
      const changed = cut ? small.slice(0, at) : small.with(at, byte)
      try {
        loadTokenizer(folderWith(changed)).encode('the fox')
      } catch (error) {
        assert.instance(error, TextError)
      }
    }),
    { numRuns: 150, seed: 93 },
  )
})

test.run()
