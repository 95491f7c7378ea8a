import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Config, Program } from '../../../codegen/program.ts'
import { targets } from '../../../codegen/target.ts'
import { type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import { gemmKernel } from '../../../kernels/gemm/operands.ts'
import { openBench, Product, TimedBench } from '../../../models/tune/gemm-bench.ts'
import { checkSample, sampleProduct } from '../../../models/tune/gemm-check.ts'
import { GemmPool } from '../../../models/tune/gemm-pool.ts'
import { gemmTask } from '../../../models/tune/gemm-task.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { loadProgram } from '../../../runtime/program-cache.ts'
import { type Candidate, WrongResult } from '../../../runtime/tune/bench.ts'
import '../../support/run-cli.ts'

const device = openEmulator({ workers: 1 })
const shape = { M: 9, N: 192, K: 256 }

/** Some candidates of a format with their programs. */
async function programsOf(format: WeightFormatName, count: number) {
  const task = gemmTask(format, [shape], targets.sm_90a, true)
  const candidates = task.candidates(task.cells[0]!).slice(0, count)
  const kernel = gemmKernel(format)
  return Promise.all(
    candidates.map(async ({ config, constants }, id) => ({
      candidate: { id, config },
      program: await loadProgram(kernel, constants as Config, targets.sm_90a),
    })),
  )
}

const benchOf = (format: WeightFormatName, rotationBytes = 0): TimedBench =>
  new TimedBench(device, new Product(device, format), { shapes: [shape, { ...shape, M: 3 }], rotationBytes })

/** One format of each kernel. */
const formats = new Map(
  (Object.keys(weightFormats) as WeightFormatName[]).map((name) => [weightFormats[name].tag, name]),
)

for (const format of formats.values())
  test(`operands of ${format} that the tuner makes give what it expects of them`, async () => {
    const bench = benchOf(format)
    const { program } = (await programsOf(format, 1))[0]!
    await bench.open(shape)
    bench.leave(await bench.enter(program))
    await bench.open({ ...shape, M: 3 })
    bench.leave(await bench.enter(program))
  })

test('rows of the largest vocabularies are told apart, and have scales', () => {
  const [vocabulary, K] = [152_064, 256]
  const pool = new GemmPool('w8a8')
  assert.ok(pool.scale.length >= vocabulary)
  for (const n of [65_536, 100_000, vocabulary - 1]) {
    pool.product(n, 0, K)
    const before = n - 65_536
    assert.equal(pool.product(before, 1, K), new GemmPool('w8a8').product(before, 1, K))
  }
})

test('launches take turns among copies of the weights, and are timed one by one', async () => {
  const bytes = 192 * 128
  const bench = benchOf('w4a8', 3 * bytes)
  const [first, second] = await programsOf('w4a8', 2)
  await bench.open(shape)
  const entries = [await bench.enter(first!.program), await bench.enter(second!.program)]
  const { launches } = entries[0]!.replay
  assert.ok(launches >= 1)
  const times = await bench.sample(entries)
  assert.is(times.length, 2)
  assert.ok(times.every((us) => us > 0))
  for (const entry of entries) bench.leave(entry)
})

test('one element that is off by the last bit is a wrong result', () => {
  const pool = new GemmPool('w8a8')
  const sample = sampleProduct(pool, 'w8a8', shape, undefined)
  const { rows, columns, expected } = sample
  assert.equal([rows[0], rows.at(-1), columns[0], columns.at(-1)], [0, 8, 0, 191])
  const out = new Uint16Array(rows.length * shape.N).fill(0xffff)
  rows.forEach((_, i) => {
    columns.forEach((n, j) => {
      out[i * shape.N + n] = expected[i * columns.length + j]!
    })
  })
  checkSample(sample, out, shape.N)
  const last = out.length - 1
  out[last]! ^= 1
  assert.throws(
    () => checkSample(sample, out, shape.N),
    (error: Error) => error instanceof WrongResult && /^out\[8, 191\] is .* and must be /.test(error.message),
  )
  out[last] = 0xffff
  assert.throws(() => checkSample(sample, out, shape.N), /is NaN and must be/)
})

test('large products are checked at 4096 positions in sixteen rows, the edges among them', () => {
  const pool = new GemmPool('w8a8')
  const { rows, columns, expected } = sampleProduct(pool, 'w8a8', { M: 4096, N: 6144, K: 128 }, undefined)
  assert.equal([rows.length, columns.length, expected.length], [16, 256, 4096])
  assert.equal([rows[0], rows.at(-1), columns[0], columns.at(-1)], [0, 4095, 0, 6143])
})

test('what is opened without a name counts where it is the emulator', async () => {
  process.env.QUATTUOR_DEVICE = 'emulator'
  const bench = await openBench(undefined, { format: 'w8a8', shapes: [shape] })
  delete process.env.QUATTUOR_DEVICE
  const [{ program, candidate }] = (await programsOf('w8a8', 1)) as [
    { program: Program; candidate: Candidate },
  ]
  await bench.open(shape)
  const entry = await bench.enter(program, candidate)
  // Starting a kernel takes 2 µs in the model.
  assert.ok((await bench.sample([entry]))[0]! > 2)
  await bench.close()
})

test.run()
