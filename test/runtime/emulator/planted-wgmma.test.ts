import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Kernel } from '../../../dsl/kernel.ts'
import { DeviceError } from '../../../runtime/device.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { type Arguments, prepare, prepareProgram } from '../../../runtime/kernel.ts'
import { Tensor } from '../../../runtime/tensor.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'
import { ringProducts, type StepsArguments, storesBeforeWait, waitsBeforeStores } from './planted-wgmma.ts'

/*
 * Faults in the discipline of asynchronous products, each found in every schedule at its TypeScript line. What the
 * compiler would refuse is planted in its text.
 */

const source = fileURLToPath(new URL('./planted-wgmma.ts', import.meta.url)).replace('/dist/test/', '/test/')

/** The line of a kernel of `planted-wgmma.ts` that a comment names. */
function lineOf(kernel: { readonly name: string }, label: string): number {
  const lines = readFileSync(source, 'utf8').split('\n')
  const start = lines.findIndex((line) => line.includes(`function ${kernel.name}(`))
  return lines.findIndex((line, i) => i > start && line.endsWith(`// ${label}`)) + 1
}

const without =
  (instruction: string, occurrence = 1) =>
  (ptx: string): string => {
    const lines = ptx.split('\n')
    const found = lines.flatMap((line, i) => (line.trim().startsWith(instruction) ? [i] : []))
    assert.ok(found.length >= occurrence, `no ${instruction} in\n${ptx}`)
    return lines.filter((_, i) => i !== found[occurrence - 1]).join('\n')
  }

interface Fault {
  readonly name: string
  readonly kernel: Kernel<StepsArguments, object>
  readonly plant: (ptx: string) => string
  /** One of these, as the schedule has it. */
  readonly codes: readonly string[]
  /** Lines that the message names. */
  readonly lines: readonly string[]
}

const waits = waitsBeforeStores as Kernel<StepsArguments, object>
const faults: readonly Fault[] = [
  {
    name: 'a missing wgmma.fence',
    kernel: waits,
    plant: without('wgmma.fence'),
    codes: ['EMULATOR_WGMMA_FENCE'],
    lines: ['product'],
  },
  {
    name: 'a missing wait before the accumulators are used',
    kernel: waits,
    plant: without('wgmma.wait_group'),
    // The tile is stored again, the accumulators are read, and the kernel ends: the first of them is reported.
    codes: ['EMULATOR_OVERWRITTEN_TILE', 'EMULATOR_WGMMA_IN_FLIGHT'],
    lines: ['product'],
  },
  {
    name: 'a missing commit',
    kernel: waits,
    plant: without('wgmma.commit_group'),
    codes: ['EMULATOR_OVERWRITTEN_TILE', 'EMULATOR_WGMMA_IN_FLIGHT'],
    lines: ['product'],
  },
  {
    name: 'a missing fence of the asynchronous proxy',
    kernel: waits,
    plant: without('fence.proxy.async'),
    codes: ['EMULATOR_PROXY_FENCE'],
    lines: ['product'],
  },
  {
    name: 'a missing barrier between stores and products',
    kernel: waits,
    plant: without('bar.sync', 1),
    codes: ['EMULATOR_RACE', 'EMULATOR_OVERWRITTEN_TILE'],
    lines: ['store', 'product'],
  },
  {
    name: 'a missing barrier between products and the next stores',
    kernel: waits,
    plant: without('bar.sync', 2),
    codes: ['EMULATOR_RACE', 'EMULATOR_OVERWRITTEN_TILE'],
    lines: ['store', 'product'],
  },
  {
    name: 'a tile filled again before the wait',
    kernel: storesBeforeWait as Kernel<StepsArguments, object>,
    plant: (ptx) => ptx,
    codes: ['EMULATOR_OVERWRITTEN_TILE'],
    lines: ['store', 'product'],
  },
]

const steps = 3

async function launch(
  kernel: Kernel<StepsArguments, object>,
  plant: (ptx: string) => string,
  seed: number,
): Promise<void> {
  const device = openEmulator({ checks: true, schedule: 'shuffled', seed })
  try {
    const random = rng(seed)
    const words = (count: number): Uint32Array =>
      Uint32Array.from({ length: count }, () => random.integer(0, 0xffff) * 65537)
    const args = {
      w: Tensor.from(device, 'u32', [steps, 128, 4], words(steps * 512)),
      x: Tensor.from(device, 'u32', [steps, 128], words(steps * 128)),
      out: Tensor.allocate(device, 'i32', [128, 8]),
    } as Arguments<StepsArguments>
    const { program } = await prepare(device, kernel, {}, args)
    const changed = { ...program, ptx: plant(program.ptx) }
    prepareProgram<StepsArguments>(device, changed, () => [1], args).run()
    await device.synchronize()
  } finally {
    await device.close()
  }
}

for (const seed of [1, 2, 3]) {
  test(`the kernel without a fault passes, schedule ${seed}`, () => launch(waits, (ptx) => ptx, seed))

  for (const { name, kernel, plant, codes, lines } of faults)
    test(`${name}, schedule ${seed}`, async () => {
      try {
        await launch(kernel, plant, seed)
        assert.unreachable('the fault was not caught')
      } catch (error) {
        if (!(error instanceof DeviceError)) throw error
        assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`)
        for (const label of lines) assert.match(error.message, `planted-wgmma.ts:${lineOf(kernel, label)}`)
      }
    })
}

/** Products on a ring of tiles that the copy engine fills. */
async function launchRing(early: boolean, seed: number): Promise<void> {
  const device = openEmulator({ checks: true, schedule: 'shuffled', seed })
  try {
    const random = rng(seed)
    const ringSteps = 7
    const w = Uint32Array.from({ length: ringSteps * 512 }, () => random.integer(0, 0xffff) * 65537)
    const x = Int8Array.from({ length: ringSteps * 512 }, () => random.integer(-128, 127))
    await runKernel(
      device,
      ringProducts,
      { early },
      {
        w: { dtype: 'u32', shape: [ringSteps, 128, 4], data: w },
        x: { dtype: 'i8', shape: [16 * ringSteps, 32], data: x },
        out: { dtype: 'i32', shape: [128, 8] },
      },
    )
  } finally {
    await device.close()
  }
}

for (const seed of [1, 2, 3]) {
  test(`a ring of tiles passes, schedule ${seed}`, () => launchRing(false, seed))

  test(`a tile of a ring released while a product reads it, schedule ${seed}`, async () => {
    try {
      await launchRing(true, seed)
      assert.unreachable('the fault was not caught')
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error
      assert.is(error.code, 'EMULATOR_EARLY_REFILL', error.message)
      for (const label of ['product', 'copy'])
        assert.match(error.message, `planted-wgmma.ts:${lineOf(ringProducts, label)}`)
    }
  })
}

test.run()
