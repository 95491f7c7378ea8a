import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { runStepLaunch } from '../../models/layer.ts'
import type { Model } from '../../models/model.ts'
import { kindOf, stepOf } from '../../models/step.ts'
import type { Event } from '../../runtime/device.ts'
import { Sampler } from '../sampler.ts'
import { MOST_TOP_LOG_PROBS } from '../sampling.ts'
import type { ScheduleLimits } from '../schedule/request.ts'
import type { EngineStep } from './engine-step.ts'
import type { ModelBounds } from './request.ts'
import type { StepLogProbs, StepResult, StepRunner } from './step-runner.ts'

/** Room for biases in each slot of the sampler. */
const BIASES = 512

/**
 * Runs steps on a model. Sampled tokens go into the next step on the device, and are read while that runs.
 */
export class ModelRunner implements StepRunner {
  readonly bounds: ModelBounds
  readonly #model: Model
  readonly #sampler: Sampler
  readonly #event: Event
  /** Ends when everything submitted so far has been enqueued. */
  #enqueued: Promise<unknown> = Promise.resolve()

  private constructor(model: Model, sampler: Sampler) {
    this.#model = model
    this.#sampler = sampler
    this.#event = model.device.createEvent()
    this.bounds = { vocabSize: model.config.vocabSize, biases: BIASES }
  }

  /** For a model whose limits leave a row of logits for every sequence. The caller keeps the model. */
  static async create(model: Model): Promise<ModelRunner> {
    const { device, logits, limits } = model
    return new ModelRunner(
      model,
      await Sampler.create(device, logits, { slots: limits.sequences, biases: BIASES }),
    )
  }

  submit(step: EngineStep): Promise<StepResult> {
    const enqueued = this.#enqueued.then(() => this.#enqueue(step))
    this.#enqueued = enqueued.catch(() => {})
    // The next step is enqueued behind this one without waiting for what it gives.
    return enqueued.then(({ result }) => result)
  }

  async close(): Promise<void> {
    await this.#enqueued
    this.#sampler.free()
    this.#event.destroy()
  }

  async #enqueue({ parts, unread, opened, slots }: EngineStep): Promise<{ result: Promise<StepResult> }> {
    const model = this.#model
    const input = stepOf(
      parts.map(({ samples, ...part }) => ({ ...part, logits: samples ? 1 : 0 })),
      model.limits.pagesPerSequence,
    )
    const sampler = this.#sampler
    const rows = slots.length
    const launches = await model.launches(input.ids.length, rows, kindOf(input))
    for (const { slot, request } of opened) sampler.open(slot, request)
    model.upload(input)
    for (const { row, token, count } of unread)
      model.device.copy(
        model.activations.ids.slice(token, token + count),
        sampler.ids.slice(row, row + count),
      )
    for (const launch of launches) runStepLaunch(launch)
    if (rows === 0) {
      this.#event.record()
      return { result: this.#event.synchronize().then(() => ({ ids: [] })) }
    }
    sampler.assign(slots)
    sampler.run(rows)
    return { result: this.#read(rows) }
  }

  async #read(rows: number): Promise<StepResult> {
    const { ids, reports } = this.#sampler
    // Both copies are enqueued here, before the next step.
    const [read, logProbs] = await Promise.all([
      ids.slice(0, rows).read() as Promise<Int32Array>,
      reports ? this.#readLogProbs(rows) : undefined,
    ])
    return { ids: read, logProbs }
  }

  async #readLogProbs(rows: number): Promise<StepLogProbs> {
    const { chosen, topIds, top } = this.#sampler.logProbs
    const [chosenOnHost, topIdsOnHost, topOnHost] = await Promise.all(
      [chosen, topIds, top].map((tensor) => tensor.slice(0, rows).read()),
    )
    return {
      chosen: chosenOnHost as Float32Array,
      topIds: topIdsOnHost as Int32Array,
      top: topOnHost as Float32Array,
      most: MOST_TOP_LOG_PROBS,
    }
  }
}

/** What a scheduler may use of a model. */
export function scheduleLimitsOf(
  model: Model,
  { waiting, watermark }: Pick<ScheduleLimits, 'waiting' | 'watermark'>,
): ScheduleLimits {
  const { limits, config, cache } = model
  return {
    tokens: limits.tokens,
    sequences: limits.sequences,
    pages: cache.pages,
    context: Math.min(config.maxPositions, limits.pagesPerSequence * PAGE_TOKENS),
    waiting,
    watermark,
  }
}
