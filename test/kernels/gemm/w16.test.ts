import { test } from 'uvu'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { assertSame, type HostTensor, runCase, runKernel } from '../../support/run-kernel.ts'
import { type GemmOptions, gemm16Case } from '../cases/gemm.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

const cases: readonly GemmOptions[] = [
  { M: 1, N: 64, K: 256, seed: 1, out: 'f32' },
  { M: 3, N: 33, K: 96, seed: 2, bias: true, residual: true },
  { M: 17, N: 48, K: 128, seed: 3, dtype: 'bf16', bias: true },
  { M: 70, N: 136, K: 64, seed: 4, residual: true },
]

for (const options of cases) {
  const c = gemm16Case(options)
  test(`is within the bound of float64: ${c.name}`, () => runCase(device, c))
}

test('a row does not depend on how many others there are, nor on the tile', async () => {
  const N = 48
  const K = 160
  const whole = gemm16Case({ M: 70, N, K, seed: 5, out: 'f32' })
  const expected = (await runKernel(device, whole.kernel, whole.config, whole.args)).out!
  for (const M of [1, 9, 33]) {
    const part = gemm16Case({ M, N, K, seed: 5, out: 'f32' })
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
