import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bytesOf } from '../../../runtime/bytes.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { gemm16Case, w4a8Case, w4a8GroupCase, w4a16Case } from '../../kernels/cases/gemm.ts'
import { fp8Case, smallWgmmaTiles } from '../../kernels/cases/gemm-fp8.ts'
import { logProbsCase } from '../../kernels/cases/logits.ts'
import { ropeAppendCase } from '../../kernels/cases/rope-append.ts'
import {
  embedTokensCase,
  quantizeRowsFp8Case,
  rmsNormQuantizeCase,
  siluMulQuantizeCase,
} from '../../kernels/cases/rows.ts'
import { runKernel } from '../../support/run-kernel.ts'

/*
 * Without checks the lanes of a warp run four at a time, with checks one after the other, from two sets of writers: the
 * results of real kernels must be the same to the last bit, in every schedule.
 */

const devices = {
  'four lanes at a time': openEmulator({ workers: 1 }),
  'in shuffled order': openEmulator({ workers: 1, schedule: 'shuffled', seed: 3 }),
}
const checked = openEmulator({ checks: true })

const gemm = { dtype: 'bf16', N: 48, K: 256, seed: 5 } as const

const heads = { D: 128, Hq: 4, Hkv: 2, dtype: 'bf16', seed: 11 } as const

/** Products of warpgroups: in turns over K, over CTAs of a cluster, with shared activations. */
const wgmmaTiles = [
  { ...smallWgmmaTiles, tokens: 32, producers: 2 },
  { ...smallWgmmaTiles, kGroups: 2, units: 2 },
  { ...smallWgmmaTiles, split: 2 },
  { ...smallWgmmaTiles, tokens: 64, multicast: 2, rowGroups: 2, ctas: 4 },
] as const

const cases = [
  ropeAppendCase({ ...heads, kv: 'kv4', runs: [1, 5] }),
  w4a8Case({ ...gemm, M: 5, residual: true, bias: true }),
  w4a8GroupCase({ ...gemm, M: 19 }),
  gemm16Case({ ...gemm, M: 9 }),
  w4a16Case({ ...gemm, M: 3 }),
  w4a16Case({ ...gemm, M: 3, dtype: 'f16', group: 32 }),
  quantizeRowsFp8Case({ T: 3, H: 264, dtype: 'f16', seed: 12 }),
  ...wgmmaTiles.map((tiles) => w4a8GroupCase({ M: 21, N: 192, K: 512, seed: 12, tiles })),
  fp8Case('fp8', { M: 21, N: 128, K: 256, seed: 13 }),
  fp8Case('w4a8-fp8', { M: 9, N: 128, K: 384, seed: 14 }),
  rmsNormQuantizeCase({ T: 3, H: 264, dtype: 'f16', seed: 6 }),
  siluMulQuantizeCase({ T: 3, H: 264, dtype: 'bf16', seed: 7 }),
  embedTokensCase({ T: 5, H: 72, dtype: 'f16', seed: 8 }),
  logProbsCase({ B: 3, V: 1000, seed: 10 }),
]

for (const { name, kernel, config, args, check } of cases)
  test(name, async () => {
    const expected = await runKernel(checked, kernel, config, args)
    check(expected)
    for (const [how, device] of Object.entries(devices)) {
      const outputs = await runKernel(device, kernel, config, args)
      for (const [output, values] of Object.entries(expected))
        assert.equal(bytesOf(outputs[output]!), bytesOf(values), `${output}, ${how}`)
    }
  })

test.run()
