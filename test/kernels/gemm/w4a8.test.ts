import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { Diagnostic } from '../../../codegen/diagnostics.ts'
import { gemmW4A8 } from '../../../kernels/gemm/w4a8.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { prepareKernel, runCase } from '../../support/run-kernel.ts'
import { type GemmOptions, w4a8Case, w4a8GroupCase, w4a8ScaledCase } from '../cases/gemm.ts'
import { smallWgmmaTiles } from '../cases/gemm-fp8.ts'

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

for (const options of cases) {
  for (const make of [w4a8Case, w4a8GroupCase]) {
    // Each case with one place of the subtraction; the formats' own test has both for every code.
    const zero = (options.seed + Number(make === w4a8Case)) % 2 === 0 ? 'epilogue' : 'register'
    const c = make({ ...options, zero })
    test(`equals the reference bit for bit: ${c.name}`, () => runCase(device, c))
  }
}

for (const options of [
  { M: 5, N: 50, K: 64, seed: 8, bias: true, residual: true },
  { M: 9, N: 33, K: 192, seed: 9, bias: true, residual: true },
]) {
  const c = w4a8Case(options)
  test(`masks features that are no multiple of 16: ${c.name}`, () => runCase(device, c))
}

for (const make of [w4a8Case, w4a8GroupCase]) {
  for (const options of [
    { M: 5, N: 48, K: 352, seed: 13, group: 32, zero: 'register' },
    { M: 3, N: 80, K: 320, seed: 14, group: 64, zero: 'epilogue' },
    { M: 40, N: 64, K: 416, seed: 15, group: 32, zero: 'epilogue', tiles: { tileK: 256, warpsK: 2 } },
  ] as const) {
    const c = make(options)
    test(`reads columns that fill no unit or step as zeros: ${c.name}`, () => runCase(device, c))
  }
}

for (const group of [64, 32] as const) {
  for (const zero of ['epilogue', 'register'] as const) {
    const c = w4a8GroupCase({ M: 9, N: 64, K: 512, seed: 16, group, zero })
    test(`equals the reference bit for bit: ${c.name}`, () => runCase(device, c))
  }
}

for (const options of [
  { M: 1, N: 48, K: 256, seed: 20 },
  { M: 19, N: 33, K: 192, seed: 21, dtype: 'bf16', bias: true, residual: true },
  { M: 19, N: 72, K: 256, seed: 22, bias: true, tiles: smallWgmmaTiles },
] as const) {
  const c = w4a8ScaledCase(options)
  test(`equals the reference bit for bit: ${c.name}`, () => runCase(device, c))
}

test('has no bank conflicts, and copies whole sectors', async () => {
  for (const make of [w4a8Case, w4a8GroupCase]) {
    device.takeReports()
    await runCase(device, make({ M: 24, N: 64, K: 256, seed: 12 }))
    for (const { site, bankConflicts, sectors, idealSectors } of device.takeReports()[0]!.memory) {
      assert.is(bankConflicts, 0, `${site.opcode} at ${site.location}`)
      if (site.opcode.startsWith('cp.async')) assert.is(sectors, idealSectors, site.location)
    }
  }
})

test('the residual may be the output', async () => {
  const c = w4a8Case({ M: 3, N: 32, K: 128, seed: 10, residual: true })
  const { launch, tensors } = await prepareKernel(device, c.kernel, c.config, c.args)
  tensors.out!.copyFrom(tensors.residual!)
  launch.set({ residual: tensors.out! })
  launch.run()
  c.check({ out: await tensors.out!.read() })
})

const config = { dtype: 'f16', bias: false, residual: false, zero: 'epilogue' } as const
const tiles = { path: 'mma', tileM: 8, tileN: 32, tileK: 128, stages: 2, warpsN: 1, warpsK: 1 } as const
for (const [why, change, sentence] of [
  ['K does not fill a copy', { K: 104 }, 'format w4a8 needs K to be a multiple of 16, and K is 104'],
  [
    'a warp has no whole unit of a step',
    { warpsK: 4 },
    'tileK = 128 must be a multiple of 64 for each of 4 warps',
  ],
  ['tokens do not fill an MMA', { tileM: 12 }, 'tileM = 12 must be a multiple of 8 tokens'],
  [
    'features do not fill the warps',
    { warpsN: 4 },
    'tileN = 32 must be a multiple of 16 features for each of 4',
  ],
  ['the ring is no ring', { stages: 1 }, 'the ring needs at least 2 stages'],
] as const) {
  test(`refuses a configuration where ${why}`, () => {
    const c = { ...config, ...tiles, N: 64, K: 256, Strips: 1, Units: 2, Words: 1024, ...change }
    assert.throws(
      () => compileKernel(gemmW4A8, c, 'sm_80'),
      (error: Error) => error instanceof Diagnostic && error.message.includes(sentence),
    )
  })
}

test('refuses packed weights of another shape, before it runs', async () => {
  const c = w4a8Case({ M: 1, N: 32, K: 256, seed: 11 })
  const other = w4a8Case({ M: 1, N: 32, K: 128, seed: 11 })
  const args = { ...c.args, w: other.args.w! }
  let message = ''
  await prepareKernel(device, c.kernel, c.config, args).catch((error: Error) => {
    message = error.message
  })
  assert.match(message, /argument 'w': expected Units = 2, got 1/)
})

test.run()
