import { test } from 'uvu'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { samplingCases } from '../cases/sampling.ts'

/** Where many draws are needed, without checks. */
const fast = openEmulator()
const checked = checkedEmulator()

for (const { name, isLong, run } of samplingCases({ large: false }))
  test(name, () => run(isLong ? fast : checked))

test.run()
