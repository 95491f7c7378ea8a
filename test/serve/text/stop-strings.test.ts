import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { TextError } from '../../../serve/text/error.ts'
import { OutputText } from '../../../serve/text/output-text.ts'
import { StopStrings } from '../../../serve/text/stop-strings.ts'
import { loadTokenizer } from '../../../serve/text/tokenizer.ts'

interface Outcome {
  readonly text: string
  readonly stop: string | undefined
}

/** The rule, in full: the first place where any stop string ends, and of those the longest. */
function oracle(text: string, stops: readonly string[]): Outcome {
  for (let end = 1; end <= text.length; end++) {
    const ending = stops.filter((stop) => text.slice(0, end).endsWith(stop))
    const stop = ending.sort((a, b) => b.length - a.length)[0]
    if (stop !== undefined) return { text: text.slice(0, end - stop.length), stop }
  }
  return { text, stop: undefined }
}

function streamed(pieces: readonly string[], stops: readonly string[]): Outcome & { parts: string[] } {
  const matcher = new StopStrings(stops).matcher()
  const parts: string[] = []
  for (const piece of pieces) {
    const { text, stop } = matcher.push(piece)
    parts.push(text)
    if (stop !== undefined) return { text: parts.join(''), stop, parts }
  }
  parts.push(matcher.end())
  return { text: parts.join(''), stop: undefined, parts }
}

test('pieces of any length give what the whole text gives, and only once', () => {
  const letter = fc.constantFrom('a', 'b', '😀', '\n')
  const word = (maxLength: number) => fc.array(letter, { minLength: 1, maxLength }).map((x) => x.join(''))
  fc.assert(
    fc.property(
      fc.array(word(4), { maxLength: 20 }),
      fc.array(word(5), { minLength: 1, maxLength: 4 }),
      (pieces, stops) => {
        const { text, stop, parts } = streamed(pieces, stops)
        assert.equal({ text, stop }, oracle(pieces.join(''), stops))
        for (const part of parts) assert.not(/\p{Surrogate}/u.test(part), 'a piece has half a character')
      },
    ),
    { numRuns: 5000, seed: 1 },
  )
})

test('text is held back only while it may begin a stop string', () => {
  const matcher = new StopStrings(['</s>', '\n\nHuman:']).matcher()
  assert.equal(matcher.push('one <'), { text: 'one ', stop: undefined })
  assert.equal(matcher.push('b>'), { text: '<b>', stop: undefined })
  assert.equal(matcher.push('\n\n\nHum'), { text: '\n', stop: undefined })
  assert.equal(matcher.push('an: </s>'), { text: '', stop: '\n\nHuman:' })
})

test('a stop string that another contains ends the text first', () => {
  assert.equal(oracle('xabcd', ['abcd', 'bc']), { text: 'xa', stop: 'bc' })
  const { text, stop } = streamed(['xab', 'cd'], ['abcd', 'bc'])
  assert.equal({ text, stop }, { text: 'xa', stop: 'bc' })
})

test('strings that can stop nothing are refused', () => {
  assert.throws(() => new StopStrings(['a', '']), /empty/)
  assert.throws(
    () => new StopStrings(['\ud800']),
    (error: unknown) => error instanceof TextError,
  )
})

test('a stop string is found across the borders of tokens, whatever tokens spell it', () => {
  const tokenizer = loadTokenizer(
    fileURLToPath(new URL('../../../examples/models/nano-w4a8kv4/', import.meta.url)),
  )
  const bytes = fc.string({ unit: fc.constantFrom('a', ' the', '.', '😀', 'Ж', '中'), maxLength: 30 })
  fc.assert(
    fc.property(bytes, fc.boolean(), (x, byBytes) => {
      const ids = byBytes
        ? Array.from(x).flatMap((c) => tokenizer.encode(c, { addSpecial: false }))
        : tokenizer.encode(x, { addSpecial: false })
      const stops = ['the.', '😀中', 'ЖЖ']
      const output = new OutputText(tokenizer, new StopStrings(stops))
      let text = ''
      let stop: string | undefined
      for (const id of ids) {
        const result = output.push(id)
        text += result.text
        stop = result.stop
        if (stop !== undefined) break
      }
      if (stop === undefined) text += output.end().text
      assert.equal({ text, stop }, oracle(x, stops))
    }),
    { numRuns: 1000, seed: 2 },
  )
})

test('stop strings are not looked for among the least number of tokens', () => {
  const tokenizer = loadTokenizer(
    fileURLToPath(new URL('../../../examples/models/nano-w4a8kv4/', import.meta.url)),
  )
  const ids = Array.from('xax', (x) => tokenizer.encode(x, { addSpecial: false })[0]!)
  const output = new OutputText(tokenizer, new StopStrings(['x']), { minTokens: 1 })
  assert.equal(output.push(ids[0]!), { text: 'x', stop: undefined })
  assert.equal(output.push(ids[1]!), { text: 'a', stop: undefined })
  assert.equal(output.push(ids[2]!), { text: '', stop: 'x' })
})

test('what is left at the end can be a stop string still', () => {
  const tokenizer = loadTokenizer(
    fileURLToPath(new URL('../../../examples/models/nano-w4a8kv4/', import.meta.url)),
  )
  const [half] = tokenizer.encode('𒀀', { addSpecial: false })
  const output = new OutputText(tokenizer, new StopStrings(['\ufffd']))
  assert.equal(output.push(half!), { text: '', stop: undefined })
  assert.equal(output.end(), { text: '', stop: '\ufffd' })
})

test.run()
