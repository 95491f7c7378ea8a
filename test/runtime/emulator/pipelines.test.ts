import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceError } from '../../../runtime/device.ts'
import { type EmulatorOptions, openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'
import { type Fault, type PipelineConfig, pipeline } from './pipelines.ts'

const [ctas, steps] = [4, 7]

async function launch(c: PipelineConfig, seed: number, options: EmulatorOptions): Promise<void> {
  const device = openEmulator(options)
  try {
    if (options.workers) await device.workersStarted()
    const random = rng(seed)
    const integers = (length: number): Int32Array =>
      Int32Array.from({ length }, () => random.integer(-(2 ** 15), 2 ** 15))
    const w = integers(ctas * steps * 128)
    const rows = (ctas / c.cluster) * steps * 8 * c.cluster
    const x = integers(rows * 32)
    const { out } = await runKernel(device, pipeline, c, {
      w: { dtype: 'i32', shape: [ctas, steps, 128], data: w },
      x: { dtype: 'i32', shape: [rows, 32], data: x },
      out: { dtype: 'i32', shape: [2, ctas, 128] },
    })
    const expected = Int32Array.from({ length: ctas * 128 }, (_, i) => {
      const [cta, thread] = [Math.floor(i / 128), i % 128]
      let sum = 0
      for (let step = 0; step < steps; step++) {
        sum = (sum + w[(cta * steps + step) * 128 + thread]!) | 0
        for (let part = 0; part < c.cluster; part++) {
          const row = (Math.floor(cta / c.cluster) * steps + step) * 8 * c.cluster + 8 * part
          const at = (row + (Math.floor(thread / 16) % 8)) * 32 + (thread % 16)
          sum = (sum + Math.imul(x[at]!, x[at + 16]! + step)) | 0
        }
      }
      return sum
    })
    assert.equal([...out!], [...expected, ...expected.map((v) => 2 * v)])
  } finally {
    await device.close()
  }
}

for (const cluster of [1, 2, 4])
  for (const stages of [1, 3]) {
    const c = { cluster, stages, fault: 'none' } as const
    const name = `${stages} stages in clusters of ${cluster}`
    test(`${name}, in order`, () => launch(c, 1, {}))
    test(`${name}, in order, checked`, () => launch(c, 2, { checks: true }))
    test(`${name}, on two threads`, () => launch(c, 3, { workers: 2 }))
    test(`${name}, ten schedules`, async () => {
      for (let seed = 1; seed <= 10; seed++) await launch(c, seed, { schedule: 'shuffled', seed })
    })
    test(`${name}, two schedules, checked`, async () => {
      for (const seed of [1, 2]) await launch(c, seed, { schedule: 'shuffled', seed, checks: true })
    })
  }

test('a ring of three stages, ten schedules, checked', async () => {
  const c = { cluster: 2, stages: 3, fault: 'none' } as const
  for (let seed = 3; seed <= 12; seed++) await launch(c, seed, { schedule: 'shuffled', seed, checks: true })
})

const source = fileURLToPath(new URL('./pipelines.ts', import.meta.url)).replace('/dist/test/', '/test/')
const lines = readFileSync(source, 'utf8').split('\n')
const lineOf = (label: string): number => lines.findIndex((line) => line.endsWith(`// ${label}`)) + 1

interface Planted {
  readonly fault: Fault
  readonly cluster: number
  /** One of these, as the schedule has it. */
  readonly codes: readonly string[]
  /** Lines, by their comments, of which the message names one. */
  readonly at: readonly string[]
}

const planted: readonly Planted[] = [
  { fault: 'no init', cluster: 1, codes: ['BARRIER_INIT'], at: ['announce', 'full'] },
  { fault: 'init twice', cluster: 1, codes: ['BARRIER_INIT'], at: ['second init'] },
  { fault: 'no init fence', cluster: 1, codes: ['BARRIER_INIT'], at: ['copy words'] },
  {
    fault: 'no cluster barrier behind init',
    cluster: 2,
    codes: ['BARRIER_INIT'],
    at: ['multicast', 'arrive at peers'],
  },
  { fault: 'no barrier behind init', cluster: 1, codes: ['BARRIER_INIT'], at: ['announce', 'full', 'empty'] },
  {
    fault: 'no wait for full',
    cluster: 1,
    codes: ['PENDING_COPY', 'UNINITIALISED_READ', 'EARLY_REFILL'],
    at: ['use', 'copy words'],
  },
  {
    fault: 'no wait for empty',
    cluster: 1,
    codes: ['PENDING_COPY', 'EARLY_REFILL', 'BARRIER_ARRIVALS'],
    at: ['copy words', 'announce'],
  },
  {
    fault: 'parity does not flip',
    cluster: 1,
    codes: ['PENDING_COPY', 'BARRIER_PARITY', 'EARLY_REFILL'],
    at: ['full', 'use', 'copy words'],
  },
  { fault: 'parity begins wrong', cluster: 1, codes: ['DEADLOCK'], at: ['empty'] },
  {
    fault: 'too few bytes announced',
    cluster: 1,
    codes: ['BARRIER_BYTES', 'PENDING_COPY'],
    at: ['copy words', 'copy tile', 'full'],
  },
  { fault: 'too many bytes announced', cluster: 1, codes: ['BARRIER_BYTES'], at: ['full'] },
  { fault: 'every lane arrives', cluster: 1, codes: ['BARRIER_ARRIVALS'], at: ['arrive'] },
  { fault: 'odd size', cluster: 1, codes: ['MISALIGNED'], at: ['copy words'] },
  { fault: 'source ends early', cluster: 1, codes: ['OUT_OF_BOUNDS'], at: ['copy words'] },
  { fault: 'a copy too many', cluster: 1, codes: ['UNAWAITED_COPY'], at: ['copy words', 'copy tile'] },
  { fault: 'no proxy fence', cluster: 1, codes: ['PROXY_FENCE'], at: ['store'] },
  { fault: 'no wait for the store', cluster: 1, codes: ['UNAWAITED_COPY'], at: ['store again'] },
  { fault: 'staging overwritten', cluster: 1, codes: ['OVERWRITTEN_TILE'], at: ['stage again'] },
  { fault: 'early exit', cluster: 2, codes: ['PEER_LIFETIME'], at: ['arrive at peers', 'multicast'] },
]

for (const { fault, cluster, codes, at } of planted)
  for (const seed of [1, 2, 3])
    test(`${fault}, schedule ${seed}`, async () => {
      try {
        await launch({ cluster, stages: 2, fault }, seed, { checks: true, schedule: 'shuffled', seed })
        assert.unreachable('the fault was not caught')
      } catch (error) {
        if (!(error instanceof DeviceError)) throw error
        assert.ok(codes.includes(error.code.replace('EMULATOR_', '')), `${error.code}: ${error.message}`)
        assert.is(error.kernel, 'pipeline')
        const places = at.map((label) => `pipelines.ts:${lineOf(label)}`)
        assert.ok(
          places.some((place) => error.message.includes(place)),
          `${places}: ${error.message}`,
        )
      }
    })

test.run()
