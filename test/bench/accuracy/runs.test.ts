import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type AccuracyRow, ladder, planRuns, summarize } from '../../../bench/accuracy/runs.ts'
import { recipeNamed } from '../../../quantize/recipe.ts'

const names = (recipes: ReturnType<typeof ladder>) =>
  recipes.map(({ name, passes }) => [name, passes.map(({ pass }) => pass).join(' ')])

test('a ladder takes one pass more each time, and rounds plainly until a pass rounds', () => {
  assert.equal(names(ladder(recipeNamed('gptq'))), [
    ['gptq: rounding', 'rtn'],
    ['gptq: + clip', 'clip rtn'],
    ['gptq: + gptq', 'clip gptq'],
  ])
  assert.equal(names(ladder(recipeNamed('awq'))), [
    ['awq: rounding', 'rtn'],
    ['awq: + awq', 'awq rtn'],
    ['awq: + clip', 'awq clip rtn'],
  ])
})

test('recipes that look at no activations run once, those with random signs or statistics for each text and seed', () => {
  const [rtn, gptq] = [recipeNamed('rtn'), recipeNamed('gptq')]
  const turned = { ...rtn, name: 'turned', passes: [{ pass: 'rotate', signs: true }, { pass: 'rtn' }] }
  const runs = planRuns([rtn, gptq, turned], ['a', 'b'], 3)
  const count = (name: string) => runs.filter(({ recipe }) => recipe.name === name).length
  assert.equal(['rtn', 'gptq', 'turned'].map(count), [1, 6, 6])
})

test('a summary has mean and spread over the model in floats', () => {
  const row = (recipe: string, valid: number, perplexity: number): AccuracyRow => ({
    ...{ model: 'm', recipe, format: 'f', calibration: 'a', seed: 0, valid, test: perplexity, seconds: 1 },
    ...{ divergence: valid / 100, agreement: 0.5 },
  })
  const [first, second] = summarize([row('a', 11, 22), row('b', 10, 20), row('a', 13, 21)], {
    valid: 10,
    test: 20,
  })
  assert.is(first!.recipe, 'a')
  assert.is(first!.runs, 2)
  assert.ok(Math.abs((first!['valid %'] as number) - 20) < 1e-9)
  assert.ok(Math.abs((first!['valid ±'] as number) - Math.SQRT2 * 10) < 1e-9)
  assert.ok(Math.abs((first!['test %'] as number) - 7.5) < 1e-9)
  assert.is(first!.KL, 0.12)
  // The run that is best on the first text is not the best on the second.
  assert.ok(Math.abs((first!['chosen %'] as number) - 10) < 1e-9)
  assert.equal([first!.perplexity, second!['test %'], second!['test ±']], [21.5, 0, 0])
})

test.run()
