import { openCheckpoint } from '../../checkpoint/open.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { Model } from '../../models/model.ts'
import { openDevice } from '../../runtime/open-device.ts'
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
  const checkpoint = openCheckpoint(spec.folder)
  const device = await openDevice(spec.device)
  const onGpu = device.properties.driver !== null
  const { config } = checkpoint
  const pagesPerSequence = Math.ceil(Math.min(spec.context, config.maxPositions) / PAGE_TOKENS)
  const limits = {
    tokens: spec.tokens,
    sequences: spec.sequences,
    pagesPerSequence,
    logitRows: spec.sequences,
  }
  // What the emulator's sequences do not need is better left to the host.
  const wanted = spec.pages ?? (onGpu ? undefined : spec.sequences * pagesPerSequence)
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
  const loaded = scheduleLimitsOf(model, { waiting, watermark: watermarkOf(pages, spec.sequences) })
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
    },
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
