import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageVersion } from '../../cli/package-info.ts'
import { describeDevices } from '../../runtime/open-device.ts'
import { runCli } from '../support/run-cli.ts'

test('doctor says what would be used and why, as text and as JSON', async () => {
  const { choice, gpus } = await describeDevices()
  const { code, out, err } = await runCli('doctor')
  assert.equal([code, err], [0, ''])
  for (const row of [
    'quattuor ',
    'node ',
    'driver ',
    'emulator ',
    'cache ',
    'cubins ',
    'translated ',
    'would use ',
  ])
    assert.match(out, row)
  assert.match(out, `would use   ${choice.name}, because ${choice.reason}`)
  const report = JSON.parse((await runCli('doctor', '--json')).out)
  assert.is(report.quattuor, packageVersion())
  assert.equal(report.choice, choice)
  assert.is(report.gpus.length, gpus.length)
  assert.is(report.cache.folder, process.env.QUATTUOR_CACHE)
  assert.is(report.cubins.store.folder, join(process.env.QUATTUOR_CACHE!, 'cubins'))
  assert.is(report.translations.folder, join(process.env.QUATTUOR_CACHE!, 'translations'))
})

test('a device named by the environment is said to be', async () => {
  process.env.QUATTUOR_DEVICE = 'emulator'
  try {
    assert.match((await runCli('doctor')).out, 'would use   emulator, because QUATTUOR_DEVICE is emulator')
  } finally {
    delete process.env.QUATTUOR_DEVICE
  }
})

test.run()
