import { suite } from 'uvu'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { weightCases } from './cases/weights.ts'

const test = suite('DeviceCompute on the emulator')
weightCases(test, checkedEmulator())
test.run()
