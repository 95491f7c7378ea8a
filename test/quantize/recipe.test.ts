import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { QuantizeError } from '../../quantize/error.ts'
import { definePass } from '../../quantize/passes/pass.ts'
import { rtn } from '../../quantize/passes/rtn.ts'
import {
  checkRecipe,
  formatOf,
  inFormat,
  productFormat,
  readRecipe,
  recipeNamed,
  recipeNames,
  recipeSteps,
} from '../../quantize/recipe.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-recipe-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))

function refusal(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    assert.instance(error, QuantizeError, String(error))
    return (error as Error).message
  }
  return 'accepted'
}

const base = { name: 'own', weights: 'w4a8', kv: 4, passes: [{ pass: 'rtn' }] }

test('every recipe of the package is valid, has the name of its file, and rounds what is no float', () => {
  assert.ok(recipeNames().length >= 6)
  for (const name of recipeNames()) {
    const recipe = recipeNamed(name)
    assert.is(recipe.name, name)
    assert.ok(recipe.about)
    if (recipe.weights !== 'f32') assert.match(recipeSteps(recipe).at(-1)!.pass.name, /^(rtn|gptq)$/)
    assert.is(formatOf(inFormat(recipe, 'w8a8kv8')).name, 'w8a8kv8')
  }
})

test('a recipe of the user is checked: the first fault is told with its place', () => {
  const path = join(root, 'own.json')
  writeFileSync(path, JSON.stringify(base))
  assert.equal(readRecipe(path), base)
  writeFileSync(path, '{')
  assert.match(
    refusal(() => readRecipe(path)),
    'own.json is no JSON',
  )
  assert.match(
    refusal(() => readRecipe(join(root, 'none.json'))),
    'there is no recipe at',
  )
  for (const [changes, ...words] of [
    [{ weights: 'w3' }, 'weights'],
    [{ kv: 5 }, 'kv'],
    [{ colour: 1 }, 'colour'],
    [{ passes: [{ pass: 'nothing' }] }, 'has the pass nothing, which does not exist; there are rotate,'],
    [{ passes: [{ pass: 'rtn', speed: 2 }] }, 'pass rtn', 'speed'],
    [{ passes: [{ pass: 'clip', steps: 0 }] }, 'pass clip: steps'],
    [{ passes: [{ pass: 'clip' }, { pass: 'rotate' }] }, 'has rotate behind clip'],
    [{ weights: 'bf16' }, 'rounds to bf16, which runs no passes'],
    [{ weights: 'bf16', passes: [], head: 'w8a8' }, 'keeps its head'],
    [{ exceptions: [{ products: ['all'], weights: 'w8a8' }] }, 'exceptions.0.products.0'],
  ] as [object, ...string[]][])
    for (const word of words)
      assert.match(
        refusal(() => checkRecipe({ ...base, ...changes }, 'it')),
        word,
      )
})

test('later exceptions win, and hold for the layers that they name', () => {
  const recipe = checkRecipe(
    {
      ...base,
      exceptions: [
        { products: ['down', 'o'], weights: 'w8a8' },
        { layers: [0, 2], products: ['down'], weights: 'w4a8-g64' },
      ],
    },
    'it',
  )
  assert.equal(
    [0, 1, 2].map((layer) => productFormat(recipe, layer, 'down')),
    ['w4a8-g64', 'w8a8', 'w4a8-g64'],
  )
  assert.is(productFormat(recipe, 0, 'o'), 'w8a8')
  assert.is(productFormat(recipe, 0, 'qkv'), 'w4a8')
})

test('a program may give passes of its own', () => {
  const own = definePass({ name: 'own', about: 'as rtn', options: rtn.options, layer: rtn.layer! })
  const recipe = checkRecipe({ ...base, passes: [{ pass: own }] }, 'it')
  assert.is(recipeSteps(recipe)[0]!.pass, own)
  assert.match(
    refusal(() => checkRecipe({ ...base, passes: [{ pass: 3 }] }, 'it')),
    'passes.0.pass',
  )
})

test.run()
