import type { Checkpoint } from '../../checkpoint/open.ts'
import { Model } from '../../models/model.ts'
import { type StepLimits, stepKinds } from '../../models/step.ts'
import { type Device, DeviceError } from '../../runtime/device.ts'
import { dryDevice } from '../../runtime/dry-device.ts'
import { ModelRunner } from './model-runner.ts'

/** What the memory of a device is for, in bytes. */
export interface MemoryPlan {
  /** Pages of the key/value cache. */
  readonly pages: number
  readonly parts: {
    readonly weights: number
    /** The key/value cache. */
    readonly pages: number
    /** What a step reads and writes. */
    readonly activations: number
    /** Work lists and partial sums of attention. */
    readonly attention: number
    /** What is known of requests, and what was sampled. */
    readonly sampling: number
    /** For graphs, code and what the driver keeps beside them. */
    readonly graphs: number
  }
  /** What may be used in all. */
  readonly budget: number
}

export interface MemoryOptions {
  readonly limits: StepLimits
  /** Part of the device's memory that may be used. */
  readonly fraction: number
  /** Pages that are wanted; default: all that there is room for. */
  readonly pages?: number | undefined
}

/** Some dozens of graphs of several hundred launches each, and code of some hundred kernels. */
const graphBytes = 2 ** 30

/**
 * Plans the memory of a device: everything is allocated once, when a model is loaded, so that no request can run out of it.
 * The model is loaded on a device that only counts. Throws `DeviceError` for what does not fit.
 */
export async function planMemory(
  device: Device,
  checkpoint: Checkpoint,
  { limits, fraction, pages }: MemoryOptions,
): Promise<MemoryPlan> {
  const { memoryBytes, driver } = device.properties
  const graphs = driver === null ? 0 : graphBytes
  const free = device.freeBytes()
  const budget = Math.floor(Math.min(fraction * memoryBytes, free))
  const pageBytes = Model.pageBytes(checkpoint)
  // Attention needs the more room the more pages there are: what it needs for more than fit is enough.
  const needs = await measure(
    device,
    checkpoint,
    limits,
    pages ?? Math.max(1, Math.floor(budget / pageBytes)),
  )
  const fixed = graphs + Object.values(needs).reduce((sum, bytes) => sum + bytes)
  const fitting = Math.floor((budget - fixed) / pageBytes)
  const taken = pages ?? fitting
  if (taken < 1 || taken > fitting)
    throw new DeviceError(
      'OUT_OF_MEMORY',
      `${gib(fixed)} without the key/value cache and ${gib(Math.max(1, taken) * pageBytes)} for ` +
        `${Math.max(1, taken)} pages of it do not fit ${gib(budget)}, which is what may be used of ${gib(memoryBytes)} ` +
        `on ${device.name}${free < fraction * memoryBytes ? ` (others use ${gib(memoryBytes - free)})` : ''}; ` +
        'allow fewer sequences, a shorter context or fewer tokens a step, or a larger part of the memory',
    )
  return { pages: taken, parts: { ...needs, pages: taken * pageBytes, graphs }, budget }
}

/** What a model with so many pages needs besides them. */
async function measure(
  device: Device,
  checkpoint: Checkpoint,
  limits: StepLimits,
  pages: number,
): Promise<Omit<MemoryPlan['parts'], 'pages' | 'graphs'>> {
  const dry = dryDevice(device)
  // Nothing is to be read, for there is nowhere to put it.
  const tensors = { ...checkpoint.tensors, readInto: () => {} }
  const model = await Model.load(dry.device, { ...checkpoint, tensors }, { limits, pages })
  const loaded = dry.bytes
  const activations = model.activations.bytes
  const weights = loaded - activations - pages * Model.pageBytes(checkpoint)
  for (const kind of stepKinds) await model.attentionLaunches(kind)
  const attention = dry.bytes - loaded
  await ModelRunner.create(model)
  return { weights, activations, attention, sampling: dry.bytes - loaded - attention }
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`
