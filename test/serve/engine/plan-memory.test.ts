import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../../checkpoint/open.ts'
import { Model } from '../../../models/model.ts'
import { stepKinds } from '../../../models/step.ts'
import type { Device } from '../../../runtime/device.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { ModelRunner } from '../../../serve/engine/model-runner.ts'
import { planMemory } from '../../../serve/engine/plan-memory.ts'
import { writeRandomLlama } from '../../support/random-llama.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-memory-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const device = openEmulator({ memoryBytes: 2 ** 27 })
test.after(() => device.close())

const folder = await writeRandomLlama(join(root, 'bf16'), {
  seed: 9,
  dtype: 'bf16',
  architecture: 'Qwen3ForCausalLM',
})
const checkpoint = openCheckpoint(folder)
const limits = { tokens: 96, sequences: 5, pagesPerSequence: 3, logitRows: 5 }

/** The device, and how many bytes have been allocated on it and not been freed. */
function counted(inner: Device): { device: Device; live(): number } {
  let live = 0
  const proxy = new Proxy(inner, {
    get(_, key) {
      if (key === 'allocate')
        return (bytes: number) => {
          const memory = inner.allocate(bytes)
          live += bytes
          const free = () => {
            live -= bytes
            memory.free()
          }
          return { address: memory.address, bytes, free }
        }
      const value: unknown = Reflect.get(inner, key, inner)
      return typeof value === 'function' ? value.bind(inner) : value
    },
  })
  return { device: proxy, live: () => live }
}

test('what is planned is what is allocated, to the byte', async () => {
  const pages = 11
  const { parts } = await planMemory(device, checkpoint, { limits, fraction: 0.9, pages })
  const real = counted(device)
  const model = await Model.load(real.device, checkpoint, { limits, pages })
  assert.is(real.live(), parts.weights + parts.pages + parts.activations)
  for (const kind of stepKinds) await model.attentionLaunches(kind)
  assert.is(real.live(), parts.weights + parts.pages + parts.activations + parts.attention)
  const runner = await ModelRunner.create(model)
  assert.is(real.live(), Object.values(parts).reduce((sum, bytes) => sum + bytes) - parts.graphs)
  await runner.close()
  model.free()
  assert.is(real.live(), 0)
})

test('without a number of pages the cache gets what is left, and a page more would not fit', async () => {
  const options = { limits, fraction: 0.5 }
  const { pages, parts, budget } = await planMemory(device, checkpoint, options)
  const used = Object.values(parts).reduce((sum, bytes) => sum + bytes)
  assert.is(budget, 2 ** 26)
  assert.ok(used <= budget && used + Model.pageBytes(checkpoint) > budget, `${pages} pages`)
})

test('what does not fit is refused with what to do', async () => {
  const refused = async (options: { fraction?: number; pages?: number; tokens?: number }) => {
    const { fraction = 0.5, pages, tokens = limits.tokens } = options
    try {
      await planMemory(device, checkpoint, { limits: { ...limits, tokens }, fraction, pages })
    } catch (error) {
      return error as Error
    }
    throw new Error('it was planned')
  }
  for (const options of [{ pages: 4000 }, { fraction: 0.01 }, { tokens: 2 ** 17 }]) {
    const error = await refused(options)
    assert.is(error.name, 'DeviceError')
    assert.match(
      error.message,
      /do not fit .* GiB .* allow fewer sequences, a shorter context or fewer tokens a step/,
    )
  }
})

test.run()
