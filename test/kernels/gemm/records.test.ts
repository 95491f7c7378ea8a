import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { targets } from '../../../codegen/target.ts'
import type { WeightFormatName } from '../../../kernels/formats/index.ts'
import { gemmConstants, gemmKernel, type TileConstants } from '../../../kernels/gemm/operands.ts'
import { gemmSpace } from '../../../kernels/gemm/space.ts'
import { packageRoot } from '../../../runtime/package-root.ts'
import { RecordFile } from '../../../runtime/tune/record-file.ts'
import { rng } from '../../support/rng.ts'

const folder = join(packageRoot(), 'kernels/tuned/nvidia-h200')
const random = rng(21)

for (const file of readdirSync(folder)) {
  const format = file.replace('.jsonl', '') as WeightFormatName
  const records = new RecordFile(join(folder, file)).records()

  test(`every product on record has tiles that are still to be had: ${format}`, () => {
    const space = gemmSpace(format)
    const served = records.filter(
      ({ config, key }) =>
        space.refusal(config as unknown as TileConstants, targets.sm_90a, key) === undefined,
    )
    const products = (of: typeof records) => new Set(of.map(({ key }) => JSON.stringify(key)))
    assert.equal(products(served), products(records))
  })

  test(`every time on record is that of a configuration, and each is there once with a text: ${format}`, () => {
    const lines = readFileSync(join(folder, file), 'utf8').trim().split('\n')
    const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    const programs = entries.filter((entry) => 'config' in entry)
    const names = programs.map(({ config, ptxHash }) => JSON.stringify([config, ptxHash]))
    assert.is(new Set(names).size, programs.length)
    const known = new Set(programs.map(({ program }) => program))
    const timed = entries.flatMap((entry) => ('us' in entry ? (entry.us as number[][]) : []))
    assert.equal(
      new Set(timed.map(([program]) => program).filter((program) => !known.has(program))),
      new Set(),
    )
  })

  test(`tiles on record compile: ${format}`, () => {
    const { config, key } = records[random.integer(0, records.length - 1)]!
    const shape = { N: key.N!, K: key.K! }
    const constants = gemmConstants(format, shape, config as unknown as TileConstants, { dtype: 'bf16' })
    assert.ok(compileKernel(gemmKernel(format), constants as never, 'sm_90a').ptx.length > 0)
  })
}

test.run()
