import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Kernel } from '../../../dsl/kernel.ts'
import { DeviceError } from '../../../runtime/device.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { type HostTensor, runKernel } from '../../support/run-kernel.ts'
import { lacksBarrier, loadsMisaligned, readsUninitialised, storesOutOfBounds } from './planted.ts'

const source = fileURLToPath(new URL('./planted.ts', import.meta.url)).replace('/dist/test/', '/test/')

/** The line of the fault in a kernel of `planted.ts`. */
function faultLine(name: string): number {
  const lines = readFileSync(source, 'utf8').split('\n')
  const start = lines.findIndex((line) => line.includes(`function ${name}(`))
  return lines.findIndex((line, i) => i > start && line.endsWith('// fault')) + 1
}

const cases = [
  [storesOutOfBounds as Kernel, 'EMULATOR_OUT_OF_BOUNDS', 100],
  [lacksBarrier as Kernel, 'EMULATOR_RACE', 64],
  [readsUninitialised as Kernel, 'EMULATOR_UNINITIALISED_READ', 64],
  [loadsMisaligned as Kernel, 'EMULATOR_MISALIGNED', 64],
] as const

for (const [kernel, code, N] of cases) {
  const { name } = kernel
  for (const seed of [1, 2, 3]) {
    test(`${name} is caught at its TypeScript line, schedule ${seed}`, async () => {
      const device = openEmulator({ checks: true, schedule: 'shuffled', seed })
      const random = rng(seed)
      const x = Float32Array.from({ length: N }, () => random.normal())
      try {
        const args: Record<string, HostTensor> = {
          x: { dtype: 'f32', shape: [N], data: x },
          out: { dtype: 'f32', shape: [N] },
          // Known when the kernel runs: a compiler that knew it would load one element at a time.
          ...(kernel === loadsMisaligned && {
            first: { dtype: 'i32', shape: [1], data: Int32Array.of(1) },
          }),
        }
        await runKernel(device, kernel, {}, args)
        assert.unreachable('the fault was not caught')
      } catch (error) {
        if (!(error instanceof DeviceError)) throw error
        assert.is(error.code, code)
        assert.is(error.kernel, name)
        // A race has two sides, and its message names both lines; which one comes last is the schedule's choice.
        assert.match(error.message, `planted.ts:${faultLine(name)}`)
        if (code !== 'EMULATOR_RACE') assert.ok(error.location?.endsWith(`planted.ts:${faultLine(name)}`))
      } finally {
        await device.close()
      }
    })
  }
}

test.run()
