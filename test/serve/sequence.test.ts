import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type GenerateRequest, greedy, Sequence } from '../../serve/sequence.ts'

const request = (
  promptTokens: number,
  maxTokens: number,
  stopIds: readonly number[] = [],
): GenerateRequest => ({
  prompt: Array.from({ length: promptTokens }, (_, i) => i),
  maxTokens,
  sampling: greedy,
  stopIds,
})

test('pages are counted for the prompt and all tokens that may follow', () => {
  for (const [prompt, more, pages] of [
    [1, 1, 1],
    [60, 4, 1],
    [60, 5, 2],
    [64, 64, 2],
    [1, 128, 3],
  ] as const)
    assert.is(new Sequence(request(prompt, more)).pagesNeeded, pages)
})

test('tokens are appended until there are as many as asked for', () => {
  const sequence = new Sequence(request(3, 2))
  assert.ok(sequence.append(9))
  assert.is(sequence.finished, undefined)
  assert.is(sequence.generated, 1)
  assert.ok(sequence.append(8))
  assert.is(sequence.finished, 'length')
  assert.equal(sequence.tokens, [0, 1, 2, 9, 8])
})

test('a stop id ends the sequence and is not part of it', () => {
  const sequence = new Sequence(request(2, 5, [50, 51]))
  assert.ok(sequence.append(1))
  assert.not(sequence.append(51))
  assert.is(sequence.finished, 'stop')
  assert.equal(sequence.tokens, [0, 1, 1])
  assert.is(sequence.generated, 1)
})

test('the request keeps its prompt', () => {
  const asked = request(2, 5)
  new Sequence(asked).append(7)
  assert.equal(asked.prompt, [0, 1])
})

test.run()
