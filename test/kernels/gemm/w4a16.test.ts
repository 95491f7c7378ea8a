import { test } from 'uvu'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { assertSame, type HostTensor, runCase, runKernel } from '../../support/run-kernel.ts'
import { type GemmOptions, w4a16Case } from '../cases/gemm.ts'
import { smallWgmmaTiles } from '../cases/gemm-fp8.ts'
import { wgmmaTiles } from '../cases/wgmma-tiles.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

/** Groups as wide as a step, narrower and wider; columns that fill no unit. */
const cases: readonly GemmOptions[] = [
  { M: 1, N: 64, K: 256, seed: 1, out: 'f32' },
  { M: 3, N: 33, K: 352, seed: 2, group: 32, bias: true, residual: true },
  { M: 17, N: 48, K: 320, seed: 3, group: 64, dtype: 'bf16', bias: true },
  { M: 40, N: 80, K: 256, seed: 4, group: 128, dtype: 'bf16', residual: true },
  { M: 66, N: 48, K: 256, seed: 5, group: 64, residual: true },
]

for (const options of cases) {
  const c = w4a16Case(options)
  test(`is within the bound of float64: ${c.name}`, () => runCase(device, c))
}

for (const options of [
  { M: 3, N: 72, K: 256, seed: 7, group: 128, bias: true, residual: true },
  { M: 20, N: 64, K: 384, seed: 8, group: 32, dtype: 'bf16' },
] as const) {
  const c = w4a16Case({ ...options, tiles: smallWgmmaTiles })
  test(`is within the bound of float64: ${c.name}`, () => runCase(device, c))
}

for (const group of [128, 64, 32] as const) {
  const tiles = wgmmaTiles({ tokens: 16, units: 0.5, stages: 5, rowGroups: 2, producers: 2 })
  const c = w4a16Case({ M: 19, N: 136, K: 384, seed: 20 + group, group, tiles })
  test(`is within the bound of float64 with stages of half a unit: ${c.name}`, () => runCase(device, c))
}

test('a row does not depend on how many others there are, nor on the tile', async () => {
  const N = 48
  const K = 256
  const whole = w4a16Case({ M: 40, N, K, seed: 6, out: 'f32' })
  const expected = (await runKernel(device, whole.kernel, whole.config, whole.args)).out!
  for (const M of [1, 9]) {
    const part = w4a16Case({ M, N, K, seed: 6, out: 'f32' })
    const x = whole.args.x as HostTensor
    const args = {
      ...part.args,
      w: whole.args.w!,
      x: { ...x, shape: [M, K], data: (x.data as Uint16Array).slice(0, M * K) },
    }
    const { out } = await runKernel(device, part.kernel, part.config, args)
    assertSame(out!, expected.subarray(0, M * N), N)
  }
})

test.run()
