import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { Diagnostic } from '../../../codegen/diagnostics.ts'
import { gemmFp8 } from '../../../kernels/gemm/fp8.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { assemble } from '../../support/ptxas.ts'
import { runCase } from '../../support/run-kernel.ts'
import { fp8Case, smallWgmmaTiles } from '../cases/gemm-fp8.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

for (const format of ['fp8', 'w4a8-fp8'] as const) {
  for (const options of [
    { M: 1, N: 64, K: 256, seed: 1 },
    { M: 5, N: 72, K: 384, seed: 2, bias: true, residual: true },
    { M: 33, N: 136, K: 512, seed: 3, dtype: 'bf16', residual: true },
  ] as const) {
    const c = fp8Case(format, options)
    test(`is within the bound of float64: ${c.name}`, () => runCase(device, c))
  }

  test(`${format}: assembles for sm_90a`, () => {
    const c = fp8Case(format, { M: 1, N: 64, K: 128, seed: 4 })
    assemble(compileKernel(c.kernel, { ...c.config, tokens: 64, rowGroups: 2 }, 'sm_90a').ptx, 'sm_90a')
  })
}

test('is refused by targets without wgmma', () => {
  const config = { ...smallWgmmaTiles, dtype: 'f16', bias: false, residual: false } as const
  assert.throws(
    () => compileKernel(gemmFp8, config, 'sm_89'),
    (error: Error) => error instanceof Diagnostic && /sm_89|capability/.test(error.message),
  )
})

test.run()
