import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { Model } from '../../models/model.ts'
import { openModel } from '../../models/open-model.ts'
import { cubinCache } from '../../runtime/cuda/cubin-cache.ts'
import { openDevice } from '../../runtime/open-device.ts'
import { programCache } from '../../runtime/program-cache.ts'
import { ModelRunner, scheduleLimitsOf } from '../engine/model-runner.ts'
import { planMemory } from '../engine/plan-memory.ts'
import { type OpenedRunner, watermarkOf } from './open-runner.ts'
import type { ProgressMessage, WholeRunnerSpec } from './runner-spec.ts'

/** Loads a model and plans the memory of its device. Throws `CheckpointError` or `DeviceError`. */
export async function openModelRunner(
  spec: Extract<WholeRunnerSpec, { kind: 'model' }>,
  onProgress: (progress: ProgressMessage) => void,
): Promise<OpenedRunner> {
  const clock = stopwatch()
  const checkpoint = openModel(spec.folder)
  const device = await openDevice(spec.device)
  const onGpu = device.properties.driver !== null
  const { config } = checkpoint
  const pagesPerSequence = Math.ceil(Math.min(spec.context, config.maxPositions) / PAGE_TOKENS)
  const usual = usualSizes(onGpu, spec.promptsFirst)
  const sequences = spec.sequences ?? usual.sequences
  const tokens = Math.max(spec.tokens ?? usual.tokens, sequences)
  const limits = { tokens, sequences, pagesPerSequence, logitRows: sequences }
  // What the emulator's sequences do not need is better left to the host.
  const wanted = spec.pages ?? (onGpu ? undefined : sequences * pagesPerSequence)
  const { pages, parts, budget } = await planMemory(device, checkpoint, {
    limits,
    fraction: spec.memoryFraction,
    pages: wanted,
  })
  clock.lap('plan')
  const model = await Model.load(device, checkpoint, {
    limits,
    pages,
    onProgress: (done, total) => onProgress({ what: 'weights', done, total }),
  })
  checkpoint.close()
  clock.lap('weights')
  const runner = await ModelRunner.create(model)
  // The emulator gains nothing from graphs, and would compile kernels for sizes that never come.
  if (onGpu) await runner.prepare((done, total) => onProgress({ what: 'graphs', done, total }))
  clock.lap('kernels and graphs')
  const { waiting, context, promptsFirst } = spec
  const loaded = scheduleLimitsOf(model, { waiting, watermark: watermarkOf(pages, sequences) })
  const planned = Object.values(parts).reduce((sum, bytes) => sum + bytes)
  return {
    runner,
    ready: {
      bounds: runner.bounds,
      limits: { ...loaded, context: Math.min(context, loaded.context), promptsFirst },
      pageTokens: PAGE_TOKENS,
      device: `${device.name} (${device.properties.description})`,
      memory: { ...parts, reserve: Math.max(0, budget - planned) },
      seconds: clock.laps,
      kernels: await kernelSources(),
    },
  }
}

/**
 * What runs at once unless told otherwise. A GPU gives more tokens a second the more sequences run, up to 512; with 256, and
 * half as long steps, each waits less. The emulator gains nothing from either.
 */
const usualSizes = (onGpu: boolean, promptsFirst: boolean) => {
  if (!onGpu) return { sequences: 32, tokens: 512 }
  return promptsFirst ? { sequences: 512, tokens: 4096 } : { sequences: 256, tokens: 2048 }
}

/** How many kernels this process has compiled so far, has had the driver compile, and has found on disk both ways. */
async function kernelSources(): Promise<Record<string, number>> {
  const [programs, cubins] = await Promise.all([programCache().statistics(), cubinCache().statistics()])
  return {
    'programs compiled': programs.misses,
    'programs found': programs.hits,
    'compiled by the driver': cubins.compiled,
    'cubins found': cubins.cached,
  }
}

/** Seconds of the parts of a start. */
function stopwatch(): { lap(name: string): void; readonly laps: Record<string, number> } {
  const laps: Record<string, number> = {}
  let last = performance.now()
  return {
    laps,
    lap(name) {
      const now = performance.now()
      laps[name] = (now - last) / 1000
      last = now
    },
  }
}
