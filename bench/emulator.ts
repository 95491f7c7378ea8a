import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import benny from 'benny'
import { Command } from 'commander'
import { wholeNumber } from '../cli/options.ts'
import { type EmulatorDevice, openEmulator } from '../runtime/emulator/device.ts'
import { prepareProgram } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import { ModelRunner } from '../serve/engine/model-runner.ts'
import { greedy } from '../serve/sampling.ts'
import { runBench } from './command.ts'
import { loadForShapes, measureDecode, promptsOf } from './decode-rate.ts'
import { mmaLoop, mmaLoopProducts } from './mma-loop.ts'
import { type LaunchShare, profiledDevice } from './profile.ts'
import { type QuantizedModel, quantizedModels } from './quantized-models.ts'
import { type Row, writeResults } from './results.ts'
import { table } from './table.ts'

interface EmulatorOptions {
  readonly profile?: boolean
  readonly prompt: number
  readonly tokens: number
}

/** CTAs of the MMA loop: enough for every core to have some. */
const mmaCtas = 16

/** Opens the emulator on that many threads, ready to use them. */
async function emulatorOn(threads: number): Promise<EmulatorDevice> {
  // With all threads the emulator decides itself which launches gain from them, as users have it.
  const device = openEmulator(threads === 1 ? { workers: 1 } : {})
  await device.workersStarted()
  return device
}

/** G multiply-accumulates a second of `mma.m16n8k32` on registers. */
async function measureMma(threads: number): Promise<Row> {
  const device = await emulatorOn(threads)
  const out = Tensor.allocate(device, 'i32', [128 * mmaCtas])
  const launch = prepareProgram(device, mmaLoop(), () => [mmaCtas], { out })
  const run = () => {
    launch.run()
    return device.synchronize()
  }
  await run()
  const { results } = await benny.suite(
    `mma.m16n8k32 on ${threads} threads`,
    benny.add('mma', run, { minSamples: 5, maxTime: 2 }),
  )
  await device.close()
  const value = (mmaCtas * mmaLoopProducts) / results[0]!.details.median / 1e9
  return { measured: 'mma.m16n8k32 s8', threads, value, unit: 'G MAC/s' }
}

async function measureModel(
  { name, folder }: QuantizedModel,
  threads: number,
  options: EmulatorOptions,
): Promise<Row> {
  const shape = { batch: 1, promptTokens: options.prompt, tokens: options.tokens }
  const device = await emulatorOn(threads)
  try {
    const { model } = await loadForShapes(device, folder, [shape])
    const { tokensPerSecond: value, ...times } = await measureDecode(model, shape)
    return { measured: `${name} decode, batch 1`, threads, value, unit: 'tok/s', ...times }
  } finally {
    await device.close()
  }
}

/** Milliseconds of each kernel in the fastest of some decode steps, and what the host needed between them. */
async function profileModel({ name, folder }: QuantizedModel, options: EmulatorOptions): Promise<void> {
  const shape = { batch: 1, promptTokens: options.prompt, tokens: options.tokens }
  const profiled = profiledDevice(await emulatorOn(availableParallelism()))
  try {
    const { model } = await loadForShapes(profiled.device, folder, [shape])
    const runner = await ModelRunner.create(model, { graphs: false })
    const [prompt] = promptsOf(shape, model.config.vocabSize, 1)
    const pages = Array.from({ length: model.limits.pagesPerSequence }, (_, page) => page)
    const request = { sampling: greedy, prompt: prompt! }
    const first = { parts: [{ ids: prompt!, position: 0, isPrompt: true, pages, samples: true }], slots: [0] }
    await runner.submit({ ...first, unread: [], opened: [{ slot: 0, request }], masks: [] })
    let fastest = Number.POSITIVE_INFINITY
    let shares: readonly LaunchShare[] = []
    for (let token = 0; token < options.tokens; token++) {
      profiled.start()
      const started = performance.now()
      const part = { ids: [0], position: options.prompt + token, isPrompt: false, pages, samples: true }
      await runner.submit({
        parts: [part],
        slots: [0],
        unread: [{ row: 0, token: 0, count: 1 }],
        opened: [],
        masks: [],
      })
      const ms = performance.now() - started
      const ofStep = await profiled.shares()
      // The first compiles.
      if (token > 0 && ms < fastest) [fastest, shares] = [ms, ofStep]
    }
    const host = fastest - shares.reduce((sum, { ms }) => sum + ms, 0)
    const rows = [
      ...shares.map((share) => ({ ...share, msEach: share.ms / share.launches })),
      { name: 'between launches', ms: host },
      { name: 'decode step', ms: fastest },
    ]
    console.log(`\n${name}, a decode step after ${options.prompt} tokens\n${table(rows, 3)}`)
  } finally {
    await profiled.device.close()
  }
}

await runBench(
  new Command('bench:emulator')
    .description('Speed of the PTX emulator without checks: MMA rate, and decoding of W4A8KV4 models.')
    .option('--profile', 'print the milliseconds of each kernel in a decode step')
    .option('--prompt <n>', 'tokens of the prompt', wholeNumber(1), 32)
    .option('--tokens <n>', 'decode steps to time', wholeNumber(1), 16)
    .action(async (options: EmulatorOptions) => {
      const folder = mkdtempSync(join(tmpdir(), 'quattuor-bench-'))
      try {
        const threadCounts = [...new Set([1, availableParallelism()])]
        const models = await quantizedModels(folder)
        const rows: Row[] = []
        for (const threads of threadCounts) rows.push(await measureMma(threads))
        for (const model of models)
          for (const threads of threadCounts) rows.push(await measureModel(model, threads, options))
        console.log(table(rows))
        const device = openEmulator()
        console.log(`wrote ${writeResults(device, 'emulator', rows)}`)
        await device.close()
        if (options.profile) for (const model of models) await profileModel(model, options)
      } finally {
        rmSync(folder, { recursive: true })
      }
    }),
)
