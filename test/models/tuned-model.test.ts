import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { targets } from '../../codegen/target.ts'
import { gemmSpace } from '../../kernels/gemm/space.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { recipeNamed } from '../../quantize/recipe.ts'
import type { Device } from '../../runtime/device.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { RecordFile } from '../../runtime/tune/record-file.ts'
import { recordPath } from '../../runtime/tune/tuned.ts'
import { fakeFacts } from '../support/fake-tuning.ts'
import { loadForTest, logitsOf } from '../support/generate.ts'
import { writeRandomLlama } from '../support/random-llama.ts'
import { rng } from '../support/rng.ts'
import { temporaryFolder } from '../support/run-cli.ts'

// Records of a GPU that does not exist are for this file alone.
process.env.QUATTUOR_CACHE = temporaryFolder()
const emulator = openEmulator()
const launched: Readonly<Record<string, unknown>>[] = []

/** The emulator under the name of a GPU, for which models take tiles on record. */
const gpu = new Proxy<Device>(emulator, {
  get(device, key: keyof Device) {
    if (key === 'name') return 'cuda:0'
    if (key === 'properties') return { ...device.properties, description: fakeFacts.gpu }
    const value = device[key] as unknown
    if (typeof value !== 'function') return value
    return (...args: unknown[]) => {
      if (key === 'prepareLaunch')
        launched.push((args[0] as { program: { config: object } }).program.config as never)
      return value.apply(device, args)
    }
  },
})

test('a model takes the tiles on record, those of the nearest product where there are none, and gives the same bits', async () => {
  const root = temporaryFolder()
  const src = openCheckpoint(await writeRandomLlama(join(root, 'plain'), { seed: 9, dtype: 'f16' }))
  const folder = join(root, 'quantized')
  await quantizeCheckpoint(folder, src, recipeNamed('w4a8kv4'), { producer: 'quattuor test' })
  src.close()

  const file = new RecordFile(recordPath(join(process.env.QUATTUOR_CACHE!, 'tuned'), 'fake-gpu', 'w4a8'))
  file.begin({ ...fakeFacts, target: 'sm_90a' })
  const M = 64
  // qkv, gate and up, down; the output of attention has 256 features and 256 columns.
  const tiles = [
    { N: 512, K: 256 },
    { N: 768, K: 256 },
    { N: 256, K: 384 },
  ].map((shape, i) => {
    const config = gemmSpace('w4a8')
      .configurations(targets.sm_90a, { ...shape, M })
      .at(-1 - i)!
    const program = file.program({
      ...{ config: config as never, registers: 100, spills: 0, shared: 1, ptxHash: String(i) },
    })
    file.cell({ ...shape, M }, [{ program, us: 5, interval: null }])
    return config
  })

  const random = rng(9)
  const ids = Array.from({ length: 40 }, () => random.integer(0, 299))
  const said: string[] = []
  const { error } = console
  console.error = (line: string) => said.push(line)
  const logits: Float32Array[][] = []
  try {
    for (const device of [emulator, gpu]) {
      const model = await loadForTest(device, folder, { sequences: 1, context: 64, tokens: 64 })
      logits.push(await logitsOf(model, ids))
      model.free()
    }
  } finally {
    console.error = error
  }
  assert.equal(logits[1], logits[0])
  assert.is(said.length, 1, said.join('\n'))
  assert.match(
    said[0]!,
    /no tiles are on record for w4a8 weights of 256x256 on Fake GPU, and those of \d+x\d+ serve/,
  )
  for (const each of tiles)
    assert.ok(
      launched.some((config) => Object.entries(each).every(([key, value]) => config[key] === value)),
      `${JSON.stringify(each)} was not launched`,
    )
  // The 300 rows of the output head are no multiple of 8, and `wgmma` cannot have them.
  assert.is(launched.filter(({ path, N }) => path === 'mma' && N !== 300).length, 0, 'none by default')
})

test.after(() => emulator.close())
test.run()
