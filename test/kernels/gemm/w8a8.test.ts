import { test } from 'uvu'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { runCase } from '../../support/run-kernel.ts'
import { type GemmOptions, w8a8Case } from '../cases/gemm.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

const cases: readonly GemmOptions[] = [
  { M: 1, N: 32, K: 512, seed: 1 },
  { M: 7, N: 50, K: 192, seed: 2, bias: true },
  { M: 33, N: 64, K: 128, seed: 3, dtype: 'bf16', residual: true },
  { M: 66, N: 80, K: 128, seed: 4, bias: true, residual: true },
]

for (const options of cases) {
  const c = w8a8Case(options)
  test(`equals the reference bit for bit: ${c.name}`, () => runCase(device, c))
}

test.run()
