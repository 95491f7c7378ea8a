import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { images } from '../../docs/images/draw.ts'
import * as dsl from '../../dsl/index.ts'
import { examplesOf, runExamples } from '../support/documents.ts'

const docs = new URL('../../docs/', import.meta.url)

test('every example of docs/layouts.md prints what stands under it', () => {
  const examples = examplesOf(readFileSync(new URL('layouts.md', docs), 'utf8'))
  assert.ok(examples.length > 20)
  const printed = runExamples(examples, dsl)
  for (const [i, { shown, line }] of examples.entries()) {
    assert.is(printed[i]!.replace(/ +$/gm, ''), shown ?? '', `docs/layouts.md, line ${line}`)
  }
})

test('the images are those that docs/images/draw.ts draws', () => {
  for (const [name, svg] of Object.entries(images)) {
    assert.is(
      readFileSync(new URL(`images/${name}`, docs), 'utf8'),
      svg,
      `run npx tsx docs/images/draw.ts: ${name}`,
    )
  }
})

test.run()
