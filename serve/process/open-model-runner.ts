import { type Checkpoint, openCheckpoint } from '../../checkpoint/open.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { KvCache } from '../../models/kv-cache.ts'
import { Model } from '../../models/model.ts'
import type { Device } from '../../runtime/device.ts'
import { openDevice } from '../../runtime/open-device.ts'
import { ModelRunner, scheduleLimitsOf } from '../engine/model-runner.ts'
import { type OpenedRunner, watermarkOf } from './open-runner.ts'
import type { ProgressMessage, RunnerSpec } from './runner-spec.ts'

/** Part of a device's memory that is planned; the rest is the driver's, and for what kernels spill. */
const plannedPart = 0.92
/** For activations and the sampler, which are small beside weights and pages. */
const workBytes = 1.5 * 2 ** 30

/** Loads a model and plans the memory of its device. Throws `CheckpointError`, `DeviceError` or `RangeError`. */
export async function openModelRunner(
  spec: Extract<RunnerSpec, { kind: 'model' }>,
  onProgress: (progress: ProgressMessage) => void,
): Promise<OpenedRunner> {
  const checkpoint = openCheckpoint(spec.folder)
  const device = await openDevice(spec.device)
  const { config, format } = checkpoint
  const pagesPerSequence = Math.ceil(Math.min(spec.context, config.maxPositions) / PAGE_TOKENS)
  const pageBytes = KvCache.pageBytes(config, `kv${format.kv.bits}`, 'f16')
  const weightBytes = bytesOfTensors(checkpoint)
  const wanted = spec.pages ?? spec.sequences * pagesPerSequence
  const pages = spec.pages ?? Math.min(wanted, pagesThatFit(device, weightBytes, pageBytes))
  const limits = {
    tokens: spec.tokens,
    sequences: spec.sequences,
    pagesPerSequence,
    logitRows: spec.sequences,
  }
  const model = await Model.load(device, checkpoint, {
    limits,
    pages,
    onProgress: (done, total) => onProgress({ done, total }),
  })
  checkpoint.close()
  const runner = await ModelRunner.create(model)
  // The emulator gains nothing from graphs, and would compile kernels for sizes that never come.
  if (device.properties.driver !== null) await runner.prepare()
  const { waiting, context } = spec
  const loaded = scheduleLimitsOf(model, { waiting, watermark: watermarkOf(pages, spec.sequences) })
  return {
    runner,
    ready: {
      bounds: runner.bounds,
      limits: { ...loaded, context: Math.min(context, loaded.context) },
      pageTokens: PAGE_TOKENS,
      device: `${device.name} (${device.properties.description})`,
      memory: { weights: weightBytes, pages: pages * pageBytes },
    },
  }
}

const bytesOfTensors = ({ tensors }: Checkpoint): number =>
  tensors.names.reduce((sum, name) => sum + tensors.info(name).byteLength, 0)

function pagesThatFit(device: Device, weightBytes: number, pageBytes: number): number {
  const { memoryBytes } = device.properties
  const pages = Math.floor((plannedPart * memoryBytes - weightBytes - workBytes) / pageBytes)
  if (pages >= 1) return pages
  throw new RangeError(
    `the weights take ${(weightBytes / 2 ** 30).toFixed(1)} of ${(memoryBytes / 2 ** 30).toFixed(1)} GiB of ` +
      `${device.name}, which leaves no room for the key/value cache; take a device with more memory`,
  )
}
