import { suite } from 'uvu'
import { describeDevices, openDevice } from '../../runtime/open-device.ts'
import { asyncCases } from '../support/async-cases.ts'
import { runCase } from '../support/run-kernel.ts'

/** Copies by the copy engine, barriers and clusters on a GPU: the cases of the emulator's test. */
const { gpus } = await describeDevices()
const gpu = gpus.find((each) => each.target && each.target.capability >= 90)
const test = suite('the copy engine and clusters on CUDA')
if (!gpu) {
  console.log('skipped: the copy engine on CUDA, because no GPU of compute capability 9.0')
  test.skip('needs a GPU of compute capability 9.0', () => {})
}
const check = (gpu ? test : test.skip) as typeof test

// Not in a `before` hook, whose errors uvu does not show.
const device = gpu && (await openDevice(gpu.name))
test.after(async () => {
  await device?.close()
})

for (const each of asyncCases) check(each.name, () => runCase(device!, each))

test.run()
