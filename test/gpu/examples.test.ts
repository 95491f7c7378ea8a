import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { describeDevices } from '../../runtime/open-device.ts'
import { exampleOutputs } from '../support/examples.ts'

/** The examples on a GPU, as built. */
const { gpus } = await describeDevices()
const gpu = gpus.find((each) => each.target?.name === 'sm_90a')
const test = suite('the examples on CUDA')
if (!gpu) {
  console.log('skipped: the examples on CUDA, because no GPU has the target sm_90a')
  test.skip('needs a GPU of the target sm_90a', () => {})
}
const check = (gpu ? test : test.skip) as typeof test

const root = fileURLToPath(new URL('../../', import.meta.url))
const isBuilt = import.meta.url.endsWith('.js')

for (const [name, output] of Object.entries(exampleOutputs(gpu?.name ?? 'cuda:0')))
  check(`${name} prints what it promises`, () => {
    const file = join('examples', `${name}${isBuilt ? '.js' : '.ts'}`)
    const run = spawnSync(process.execPath, [...(isBuilt ? [] : ['--import', 'tsx']), file], {
      cwd: resolve(root),
      encoding: 'utf8',
      env: { ...process.env, QUATTUOR_DEVICE: gpu!.name },
    })
    assert.is(run.status, 0, run.stderr)
    assert.match(run.stdout, output)
  })

test.run()
