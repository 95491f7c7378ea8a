import { test } from 'uvu'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { runCase } from '../support/run-kernel.ts'
import { type GemmOptions, w4a8Case, w4a8GroupCase } from './cases/gemm.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

/** Odd numbers of tokens, tiles that tokens and features do not fill, every way to share the work among warps. */
const cases: readonly GemmOptions[] = [
  { M: 1, N: 48, K: 256, seed: 1 },
  { M: 3, N: 32, K: 384, seed: 2, bias: true },
  { M: 7, N: 16, K: 256, seed: 3, residual: true, tiles: { stages: 2 } },
  { M: 8, N: 64, K: 512, seed: 4, dtype: 'bf16', bias: true, residual: true },
  { M: 17, N: 48, K: 256, seed: 5, tiles: { tileM: 16, tileN: 32, tileK: 128, warpsN: 1, warpsK: 1 } },
  { M: 33, N: 80, K: 256, seed: 6, residual: true },
  { M: 65, N: 144, K: 128, seed: 7 },
]

for (const zero of ['epilogue', 'register'] as const) {
  for (const options of cases) {
    for (const make of [w4a8Case, w4a8GroupCase]) {
      const c = make({ ...options, zero })
      test(`equals the reference bit for bit: ${c.name}`, () => runCase(device, c))
    }
  }
}

for (const options of [
  { M: 5, N: 50, K: 64, seed: 8, bias: true, residual: true },
  { M: 9, N: 33, K: 192, seed: 9, bias: true, residual: true },
]) {
  const c = w4a8Case(options)
  test(`masks features that are no multiple of 16: ${c.name}`, () => runCase(device, c))
}

test.run()
