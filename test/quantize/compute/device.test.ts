import { suite } from 'uvu'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { operationCases } from './cases/operations.ts'

const test = suite('DeviceCompute on the emulator')
operationCases(test, checkedEmulator())
test.run()
