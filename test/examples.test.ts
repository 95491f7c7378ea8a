import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')

/** What an example must print, by its file's name. */
const expected: Record<string, RegExp> = {
  '1-vector-add.ts': /^emulator: 999 \+ 2 · 999 = 2997$/m,
  '2-rmsnorm.ts': /^emulator: the mean square of the output is 0\.250, of γ 0\.25$/m,
  '3-gemm.ts': /^emulator: 0 of 240 sums differ from the host's$/m,
  '4-own-format.ts': /^emulator: the kernel is within 0\.001 of its reference/m,
  '5-nf4-gemm.ts':
    /^emulator, mma: 0 of 960 sums are further from .*\nemulator, wgmma: 0 of 960 sums are further from /m,
  '6-copy-engine.ts': /^emulator: 0 of 300 sums differ from the host's$/m,
  '7-ring-wgmma.ts': /^emulator: 0 of 8000 results differ from the host's$/m,
}

for (const [file, output] of Object.entries(expected)) {
  test(`examples/${file} runs on the emulator and prints what it promises`, () => {
    const run = spawnSync(process.execPath, ['--import', 'tsx', join('examples', file)], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, QUATTUOR_DEVICE: 'emulator' },
    })
    assert.is(run.status, 0, run.stderr)
    assert.match(run.stdout, output)
  })
}

test('examples import only the public names', () => {
  for (const file of readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'))) {
    const text = readFileSync(join(root, 'examples', file), 'utf8')
    for (const [, from] of text.matchAll(/from '([^']+)'/g))
      assert.match(from!, /^(quattuor(\/kernels)?|node:.*)$/, file)
  }
})

test.run()
