import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cutSequences, kindOf, slotOf, stepOf } from '../../models/step.ts'

test('a position lies in the page of its 64 tokens, wherever that page is', () => {
  const pages = [7, 0, 3]
  assert.equal(
    [0, 63, 64, 127, 128, 139].map((position) => slotOf(pages, position)),
    [448, 511, 0, 63, 192, 203],
  )
})

test('parts of a step are flattened in order, each with its place, context and rows of logits', () => {
  const step = stepOf(
    [
      { ids: [11], position: 64, isPrompt: false, pages: [5, 2], logits: 1 },
      { ids: [], position: 0, isPrompt: false, pages: [], logits: 0 },
      { ids: [21, 22, 23], position: 62, isPrompt: true, pages: [1, 4], logits: 2 },
    ],
    3,
  )
  assert.equal([...step.ids], [11, 21, 22, 23])
  assert.equal([...step.positions], [64, 62, 63, 64])
  assert.equal([...step.slots], [2 * 64, 64 + 62, 64 + 63, 4 * 64])
  assert.equal([...step.queryStart], [0, 1, 1, 4])
  assert.equal([...step.context], [65, 0, 65])
  assert.equal([...step.prompts], [0, 0, 1])
  assert.equal([...step.pages], [5, 2, 0, 0, 0, 0, 1, 4, 0])
  assert.equal([...step.logitRows], [0, 2, 3])
})

test('long sequences are cut into pieces with the pages of the whole, and no others', () => {
  const pages = [5, 6]
  const part = (count: number, position: number) => ({
    ids: Array.from({ length: count }, (_, i) => i),
    position,
    isPrompt: count > 8,
    pages,
    logits: 0,
  })
  const step = stepOf([part(1, 9), part(20, 3), part(0, 0), part(8, 0)], 2)
  const cut = cutSequences(step, 8)
  assert.equal([...cut.queryStart], [0, 1, 9, 17, 21, 21, 29])
  assert.equal([...cut.context], [10, 11, 19, 23, 0, 8])
  assert.equal([...cut.prompts], [0, 1, 1, 1, 0, 0])
  assert.equal([...cut.pages], [5, 6, 5, 6, 5, 6, 5, 6, 5, 6, 5, 6])
  const whole = cutSequences(step, Infinity)
  assert.equal([...whole.queryStart], [...step.queryStart])
  assert.equal([...whole.context], [...step.context])
})

/** A step of so many tokens of each sequence: of some that were generated, and of some of a prompt. */
const stepWith = (generated: readonly number[], prompts: readonly number[]) =>
  stepOf(
    [...generated, ...prompts].map((count, i) => ({
      ...{ ids: Array(count).fill(1), position: 0, pages: [0], logits: 0 },
      isPrompt: i >= generated.length,
    })),
    1,
  )

test('a step needs what its sequences need: which kernel attends is a matter of what tokens are, not of how many', () => {
  const of = (generated: readonly number[], prompts: readonly number[]) =>
    kindOf(stepWith(generated, prompts))
  assert.equal(of([1, 0, 1], []), { queries: 1, prompts: false })
  assert.equal(of([1, 8], []), { queries: 8, prompts: false })
  assert.equal(of([1], [1]), { queries: 1, prompts: true })
  assert.equal(of([0], [1, 9]), { queries: 0, prompts: true })
  assert.equal(of([1], [8, 9]), { queries: 1, prompts: true })
  assert.equal(of([2], [40]), { queries: 8, prompts: true })
  assert.equal(of([1], [0]), { queries: 1, prompts: false })
  assert.equal(of([0], [0]), { queries: 1, prompts: false })
})

test('more generated tokens of a sequence than decode attention takes are no step', () => {
  assert.throws(() => stepWith([1, 9], [20]), 'at most 8 generated tokens of a sequence, got 9')
})

test.run()
