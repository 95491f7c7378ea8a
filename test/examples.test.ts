import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { exampleOutputs } from './support/examples.ts'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')

const outputs = exampleOutputs('emulator')

for (const [name, output] of Object.entries(outputs)) {
  test(`examples/${name}.ts runs on the emulator and prints what it promises`, () => {
    const run = spawnSync(process.execPath, ['--import', 'tsx', join('examples', `${name}.ts`)], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, QUATTUOR_DEVICE: 'emulator' },
    })
    assert.is(run.status, 0, run.stderr)
    assert.match(run.stdout, output)
  })
}

test('every example is run', () => {
  const files = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'))
  assert.equal(
    files,
    Object.keys(outputs).map((name) => `${name}.ts`),
  )
})

test('examples import only the public names', () => {
  for (const file of readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'))) {
    const text = readFileSync(join(root, 'examples', file), 'utf8')
    for (const [, from] of text.matchAll(/from '([^']+)'/g))
      assert.match(from!, /^(quattuor(\/(kernels|quantize))?|node:.*)$/, file)
  }
})

test.run()
