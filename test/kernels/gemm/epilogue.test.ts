import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { Diagnostic } from '../../../codegen/diagnostics.ts'
import type { Kernel } from '../../../dsl/kernel.ts'
import { gateUpOrder, interleaveGateUp } from '../../../kernels/gemm/gate-up-order.ts'
import { gemmW8A8, gemmW8A8SiluMul } from '../../../kernels/gemm/w8a8.ts'
import type { WgmmaTiles } from '../../../kernels/gemm/wgmma-plan.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { prepareKernel, runCase } from '../../support/run-kernel.ts'
import { type GemmOptions, w4a8Case, w4a8GroupCase, w8a8Case } from '../cases/gemm.ts'
import { fp8SiluCase, gemm16SiluCase, integerEnding } from '../cases/gemm-epilogue.ts'
import { smallWgmmaTiles } from '../cases/gemm-fp8.ts'
import { randomWgmmaTiles, wgmmaTiles } from '../cases/wgmma-tiles.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

const random = rng(11)
const pick = <T>(...values: readonly T[]): T => values[random.integer(0, values.length - 1)]!
const makers = {
  w4a8: w4a8Case,
  'w4a8-g64': (o: GemmOptions) => w4a8GroupCase({ ...o, group: 64 }),
  w8a8: w8a8Case,
} as const
const endings = [
  { activation: 'silu-mul' },
  { activation: 'silu-mul', out: 'i8' },
  { out: 'i8' },
  { activation: 'silu-mul', out: 'f32' },
] as const

/** Tiles at random that sum K in one warpgroup, which store through staging tiles, and in several, which do not. */
function tilesOf(format: keyof typeof makers, isPartial: boolean): WgmmaTiles {
  for (;;) {
    const tiles = randomWgmmaTiles(random, format)
    if (tiles.tokens <= 96 && tiles.kGroups * tiles.split > 1 === isPartial) return tiles
  }
}

for (const [i, format] of (['w4a8', 'w4a8-g64', 'w8a8'] as const).entries()) {
  for (const [j, ending] of endings.entries()) {
    for (const path of ['mma', 'whole', 'partial'] as const) {
      const c = makers[format]({
        M: random.integer(1, 70),
        N: 32 * random.integer(1, 9),
        K: 128 * random.integer(1, 4),
        seed: 300 + 10 * i + j,
        bias: pick(true, false),
        dtype: pick('f16', 'bf16'),
        ...(format !== 'w8a8' && { zero: pick('epilogue', 'register') }),
        ...(path !== 'mma' && { tiles: tilesOf(format, path === 'partial') }),
      })
      const own = integerEnding(c, format, ending)
      test(`equals the reference bit for bit: ${own.name}`, () => runCase(device, own))
    }
  }
}

for (const c of [
  gemm16SiluCase({ M: 9, N: 144, K: 256, seed: 40, bias: true }),
  gemm16SiluCase({ M: 33, N: 176, K: 384, seed: 41, dtype: 'bf16', tiles: smallWgmmaTiles }),
  fp8SiluCase({ M: 20, N: 144, K: 256, seed: 42, bias: true }),
]) {
  test(`is near float64: ${c.name}`, () => runCase(device, c))
}

test('a row of gate and the same of up lie eight rows apart', () => {
  const order = gateUpOrder(24)
  const rows = Array.from({ length: 48 }, (_, i) => order(i >> 1, i & 1))
  assert.equal(
    [...rows].sort((a, b) => a - b),
    [...Array(48).keys()],
  )
  const stacked = Uint16Array.from({ length: 48 * 3 }, (_, i) => i)
  const rowsOfThree = interleaveGateUp(stacked, 24)
  for (const feature of [0, 7, 8, 23]) {
    const gate = 16 * Math.floor(feature / 8) + (feature % 8)
    assert.equal(
      [...rowsOfThree.subarray(3 * gate, 3 * gate + 3)],
      [0, 1, 2].map((k) => 3 * feature + k),
    )
    assert.is(rowsOfThree[3 * (gate + 8)], 3 * (24 + feature))
  }
  assert.throws(() => gateUpOrder(12), /I must be a multiple of 8, and is 12/)
})

test('refuses features of other rows than two each, before it runs', async () => {
  const tiles = wgmmaTiles({ tokens: 16, stages: 3 })
  const c = integerEnding(w8a8Case({ M: 3, N: 64, K: 128, seed: 50, tiles }), 'w8a8', endings[0])
  const prepared = (I: number) =>
    prepareKernel(device, c.kernel, c.config, { ...c.args, out: { dtype: 'f16', shape: [3, I] } })
  await rejects(
    prepared(64),
    /the output has I = 64 features, so scales and biases must have N = 128, not 64/,
  )
  await rejects(prepared(36), /gate and up take turns by 8 rows: I must be a multiple of 8, and is 36/)
})

async function rejects(promise: Promise<unknown>, sentence: RegExp): Promise<void> {
  let message = ''
  await promise.catch((error: Error) => {
    message = error.message
  })
  assert.match(message, sentence)
}

const config = {
  ...wgmmaTiles({ tokens: 16, stages: 3 }),
  dtype: 'f16',
  bias: false,
  residual: false,
} as const
for (const [kernel, change, sentence] of [
  [gemmW8A8, { out: 'i8' }, "give out: 'i8' and outScale: true together"],
  [gemmW8A8, { outScale: true }, "give out: 'i8' and outScale: true together"],
  [
    gemmW8A8,
    { out: 'i8', outScale: true, residual: true },
    'not to codes of 8 bits, nor behind an activation',
  ],
  [gemmW8A8, { out: 'i32' }, 'a GEMM stores floats of 16 or 32 bits or codes of 8, not i32'],
  [gemmW8A8SiluMul, { residual: true }, 'not to codes of 8 bits, nor behind an activation'],
] as const) {
  test(`refuses ${JSON.stringify(change)} of ${kernel.name}`, () => {
    assert.throws(
      () => compileKernel(kernel as Kernel, { ...config, ...change }, 'sm_90a'),
      (error: Error) => error instanceof Diagnostic && error.message.includes(sentence),
    )
  })
}

test.run()
