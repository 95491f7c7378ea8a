import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Kernel } from '../../../dsl/kernel.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { kernelFile, type RandomKernel, randomKernel, runAsJavaScript } from '../../support/random-kernel.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const THREADS = 64
const COUNT = Number(process.env.RANDOM_KERNELS ?? 60)
const device = openEmulator()

async function outputsOf(
  url: string,
  name: string,
  kernel: RandomKernel,
  x: Int32Array,
): Promise<Int32Array> {
  const descriptor = { name, url, options: { grid: () => [1], block: [THREADS] } } as Kernel
  const columns = kernel.outputs.length
  const { out } = await runKernel(
    device,
    descriptor,
    {},
    {
      x: { dtype: 'i32', shape: [THREADS], data: x },
      out: { dtype: 'i32', shape: [THREADS, columns] },
    },
  )
  return out as Int32Array
}

test(`${COUNT} random kernels compute in every thread what JavaScript computes`, async () => {
  const random = rng(Number(process.env.SEED ?? 7))
  const kernels = Array.from({ length: COUNT }, () => randomKernel(random, random.integer(3, 9)))
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-random-'))
  try {
    const path = join(folder, 'random.ts')
    writeFileSync(path, kernelFile(kernels, 'quattuor'))
    const url = pathToFileURL(path).href
    for (const [k, kernel] of kernels.entries()) {
      const x = Int32Array.from({ length: THREADS }, () => random.integer(-40, 40))
      const actual = await outputsOf(url, `k${k}`, kernel, x)
      const run = runAsJavaScript(kernel)
      const columns = kernel.outputs.length
      for (let t = 0; t < THREADS; t++) {
        const expected = run(x[t]!, t)
        const got = [...actual.subarray(t * columns, (t + 1) * columns)]
        if (expected.some((v, i) => v !== got[i])) {
          assert.equal(
            Object.fromEntries(kernel.outputs.map((name, i) => [name, got[i]])),
            Object.fromEntries(kernel.outputs.map((name, i) => [name, expected[i]])),
            `kernel ${k}, thread ${t}, x = ${x[t]}:\n${kernel.body}`,
          )
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.run()
