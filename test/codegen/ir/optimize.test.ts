import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lower } from '../../../codegen/ir/index.ts'
import type { KernelIr } from '../../../codegen/ir/op.ts'
import { printIr } from '../../../codegen/ir/print.ts'
import type { Program } from '../../../codegen/program.ts'
import { targets } from '../../../codegen/target.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { inputWords, randomIr, randomThreads, slotsPerThread } from '../../support/random-ir.ts'
import { rng } from '../../support/rng.ts'

const test = suite('optimize')

const device = openEmulator({ memoryBytes: 2 ** 20 })
const outBytes = randomThreads * slotsPerThread * 4
const x = device.allocate(inputWords * 4)
const out = device.allocate(outBytes)

/** Small integers, and small floats as bits. */
function input(seed: number): Uint32Array {
  const random = rng(seed)
  const words = new Uint32Array(inputWords)
  const floats = new Float32Array(words.buffer)
  for (let i = 0; i < inputWords; i++)
    if (random.uniform() < 0.5) words[i] = random.integer(-100, 100)
    else floats[i] = random.normal() * 10
  return words
}

async function run(ir: KernelIr, optimize: boolean): Promise<Uint32Array> {
  const lowered = lower(ir, targets.sm_90a, { optimize })
  const tensor = { kind: 'tensor', dtype: 'u32', shape: ['N'], words: ['N'], tag: '', align: 4 } as const
  const program: Program = {
    name: ir.name,
    target: 'sm_90a',
    config: {},
    ptx: lowered.ptx,
    params: [
      { ...tensor, name: 'x', access: 'in' },
      { ...tensor, name: 'out', access: 'out' },
      { kind: 'scalar', name: 'n', dtype: 'i32' },
    ],
    block: ir.block,
    cluster: 1,
    overlaps: false,
    sharedBytes: lowered.sharedBytes,
    sources: [],
  }
  device.fill(out, 0xab)
  device.prepareLaunch(device.load(program), { grid: [1, 1, 1] }, [x.address, out.address, 37]).run()
  const result = new Uint32Array(outBytes / 4)
  await device.read(result, out)
  return result
}

/** Bits with every NaN alike: which one comes out of a sum is nobody's promise. */
const canonical = (words: Uint32Array): number[] =>
  Array.from(words, (word) => ((word & 0x7fff_ffff) > 0x7f80_0000 ? 0x7fff_ffff : word))

test('an optimised kernel computes what the kernel as written computes', async () => {
  const tape = fc.array(fc.nat(10_000), { minLength: 20, maxLength: 400 })
  await fc.assert(
    fc.asyncProperty(tape, fc.nat(), async (numbers, seed) => {
      const ir = randomIr(numbers)
      device.write(x, input(seed))
      const plain = canonical(await run(ir, false))
      const optimized = canonical(await run(ir, true))
      assert.equal(optimized, plain, printIr(ir))
    }),
    { seed: 20261121, numRuns: 150 },
  )
})

test.run()
