import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { runStepLaunch } from '../../models/layer.ts'
import type { Model } from '../../models/model.ts'
import { decodeStep, kindOf, stepKinds, stepOf } from '../../models/step.ts'
import { Sampler } from '../sampler.ts'
import type { ScheduleLimits } from '../schedule/request.ts'
import { DecodeGraphs, padDecodeStep } from './decode-graphs.ts'
import type { EngineStep } from './engine-step.ts'
import type { ModelBounds } from './request.ts'
import { ResultReader } from './result-reader.ts'
import type { StepResult, StepRunner } from './step-runner.ts'
import type { Timeline } from './timeline.ts'

/** Room for biases in each slot of the sampler. */
const BIASES = 512

export interface ModelRunnerOptions {
  /** Gets the times of steps. */
  readonly timeline?: Timeline
  /** Runs decode steps as graphs (the default), or launch by launch. */
  readonly graphs?: boolean
}

/**
 * Runs steps on a model: those that only decode as graphs, others launch by launch. Sampled tokens go into the next step on
 * the device, and are read while that runs.
 */
export class ModelRunner implements StepRunner {
  readonly bounds: ModelBounds
  readonly #model: Model
  readonly #sampler: Sampler
  readonly #graphs: DecodeGraphs
  readonly #usesGraphs: boolean
  readonly #results: ResultReader
  readonly #timeline: Timeline | undefined
  /** Ends when everything submitted so far has been enqueued. */
  #enqueued: Promise<unknown> = Promise.resolve()

  private constructor(model: Model, sampler: Sampler, { timeline, graphs = true }: ModelRunnerOptions) {
    this.#timeline = timeline
    this.#usesGraphs = graphs
    this.#model = model
    this.#sampler = sampler
    this.#graphs = new DecodeGraphs(model, sampler)
    this.#results = new ResultReader(model.device, sampler, model.limits.sequences)
    this.bounds = { vocabSize: model.config.vocabSize, biases: BIASES }
  }

  /** For a model whose limits leave a row of logits for every sequence. The caller keeps the model. */
  static async create(model: Model, options: ModelRunnerOptions = {}): Promise<ModelRunner> {
    const { device, logits, limits } = model
    const sampler = await Sampler.create(device, logits, { slots: limits.sequences, biases: BIASES })
    return new ModelRunner(model, sampler, options)
  }

  /**
   * Captures the decode steps of all sizes, and compiles what steps with prompts need; otherwise that happens when they first
   * come, and takes seconds.
   */
  async prepare(onProgress: (done: number, total: number) => void = () => {}): Promise<void> {
    const model = this.#model
    const counts = [...powersBelow(model.limits.tokens), model.limits.tokens]
    // At once, so that what is compiled is compiled at once.
    const launches = [
      ...this.#graphs.sizes.map((size) => () => model.launches(size, size, decodeStep)),
      ...counts.flatMap((tokens) => promptKinds.map((kind) => () => model.launches(tokens, 1, kind))),
    ]
    const total = launches.length + this.#graphs.sizes.length
    let done = 0
    const count = () => onProgress(++done, total)
    await Promise.all(launches.map((compile) => compile().then(count)))
    await this.#graphs.captureAll(count)
  }

  submit(step: EngineStep): Promise<StepResult> {
    const enqueued = this.#enqueued.then(() => this.#enqueue(step))
    this.#enqueued = enqueued.catch(() => {})
    // The next step is enqueued behind this one without waiting for what it gives.
    return enqueued.then(({ result }) => result)
  }

  async close(): Promise<void> {
    await this.#enqueued
    this.#graphs.destroy()
    this.#sampler.free()
    this.#results.free()
  }

  async #enqueue({
    parts,
    unread,
    opened,
    slots,
    masks,
  }: EngineStep): Promise<{ result: Promise<StepResult> }> {
    const { device, activations, limits } = this.#model
    const sampler = this.#sampler
    const input = stepOf(
      parts.map(({ samples, ...part }) => ({ ...part, logits: samples ? 1 : 0 })),
      limits.pagesPerSequence,
    )
    const rows = slots.length
    const tokens = input.ids.length
    const kind = kindOf(input)
    const apart = this.#timeline?.takesApart ?? false
    // What has to be waited for comes first; then everything is enqueued at once.
    const isDecode = rows === tokens && !kind.prompts
    const captured = this.#usesGraphs && isDecode && !apart ? await this.#graphs.stepFor(rows) : undefined
    const launches = captured ? [] : await this.#model.launches(tokens, rows, kind)
    const shape = { tokens, rows: captured?.rows ?? rows, decoded: decodedIn(parts) }
    const timed = this.#timeline?.step(shape)
    for (const { slot, request } of opened) sampler.open(slot, request)
    for (const { slot, bits } of masks) sampler.allow(slot, bits)
    this.#model.upload(captured ? padDecodeStep(input, captured.rows, limits.pagesPerSequence) : input)
    for (const { row, token, count } of unread)
      device.copy(activations.ids.slice(token, token + count), sampler.ids.slice(row, row + count))
    if (rows > 0) sampler.assign(captured ? [...slots, ...new Array(captured.rows - rows).fill(-1)] : slots)
    timed?.begin()
    let taken = () => {}
    if (captured) {
      captured.graph.launch()
      if (sampler.reports) runStepLaunch(sampler.launches(captured.rows, true).at(-1)!)
    } else {
      const all = rows > 0 ? [...launches, ...sampler.launches(rows)] : launches
      if (apart) taken = this.#timeline!.runApart(shape, all, runStepLaunch)
      else for (const launch of all) runStepLaunch(launch)
    }
    timed?.end()
    const result = this.#results.read(rows)
    if (!timed) return { result }
    return {
      result: result.then((value) => {
        timed.finish()
        taken()
        return value
      }),
    }
  }
}

/** The steps that are no decode steps. */
const promptKinds = stepKinds.filter((kind) => kind !== decodeStep)

/** 1, 2, 4, … */
function powersBelow(limit: number): number[] {
  const powers: number[] = []
  for (let power = 1; power < limit; power *= 2) powers.push(power)
  return powers
}

/** Sequences of one generated token, of which another is sampled. */
function decodedIn(parts: EngineStep['parts']): number {
  let decoded = 0
  for (const { ids, isPrompt, samples } of parts) if (samples && !isPrompt && ids.length === 1) decoded++
  return decoded
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
