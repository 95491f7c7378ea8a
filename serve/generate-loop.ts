import { PAGE_TOKENS } from '../kernels/formats/kv.ts'
import type { Model } from '../models/model.ts'
import { type StepInput, stepOf } from '../models/step.ts'
import { PagePool } from './page-pool.ts'
import { Sampler } from './sampler.ts'
import { checkSampling, SamplingError } from './sampling.ts'
import { type FinishReason, type GenerateRequest, Sequence } from './sequence.ts'

/** A request does not fit the model or its cache; nothing of it was run. */
export class RequestError extends Error {
  override readonly name = 'RequestError'
}

/** What one step gave to one request. */
export interface GenerateEvent {
  readonly request: GenerateRequest
  /** The new token, absent when an end token finished the sequence. */
  readonly id: number | undefined
  readonly finished: FinishReason | undefined
}

/** A sequence's part of a step: `count` tokens from the first that is not in the cache. */
interface Share {
  readonly sequence: Sequence
  readonly count: number
}

/**
 * Generates for several requests at once: each step carries one token of every sequence that decodes and fills up with
 * prompts, as long as tokens and pages last. Pages for a request's longest course are taken when it is admitted, so a
 * running request never lacks one.
 */
export class GenerateLoop {
  readonly #model: Model
  readonly #sampler: Sampler
  readonly #pool: PagePool
  readonly #freeSlots: number[]
  #waiting: Sequence[] = []
  #running: Sequence[] = []

  private constructor(model: Model, sampler: Sampler) {
    this.#model = model
    this.#sampler = sampler
    this.#pool = new PagePool(model.cache.pages)
    this.#freeSlots = Array.from({ length: model.limits.sequences }, (_, i) => i)
  }

  static async create(model: Model): Promise<GenerateLoop> {
    const { device, logits, limits } = model
    return new GenerateLoop(model, await Sampler.create(device, logits, { slots: limits.sequences }))
  }

  /** Whether requests are waiting or running. */
  get busy(): boolean {
    return this.#waiting.length + this.#running.length > 0
  }

  /** Takes a request. Throws `RequestError` when it could never run. */
  add(request: GenerateRequest): void {
    const { config, limits } = this.#model
    const { prompt, maxTokens } = request
    const context = Math.min(config.maxPositions, limits.pagesPerSequence * PAGE_TOKENS)
    if (prompt.length === 0) throw new RequestError('the prompt has no tokens; give at least one')
    if (maxTokens < 1) throw new RequestError(`maxTokens is ${maxTokens}; ask for at least one token`)
    const foreign = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= config.vocabSize)
    if (foreign !== undefined)
      throw new RequestError(`token id ${foreign} is not in the model's vocabulary of ${config.vocabSize}`)
    if (prompt.length + maxTokens > context)
      throw new RequestError(
        `the prompt's ${prompt.length} tokens and ${maxTokens} new ones exceed the context of ${context} tokens; ` +
          'shorten the prompt or ask for fewer tokens',
      )
    try {
      checkSampling(request.sampling, config.vocabSize)
    } catch (error) {
      throw error instanceof SamplingError ? new RequestError(error.message) : error
    }
    const sequence = new Sequence(request)
    if (sequence.pagesNeeded > this.#pool.size)
      throw new RequestError(
        `the request needs ${sequence.pagesNeeded} pages of the key/value cache and there are ${this.#pool.size}`,
      )
    this.#waiting.push(sequence)
  }

  /** Drops a request and frees its pages. */
  cancel(request: GenerateRequest): void {
    this.#waiting = this.#waiting.filter((sequence) => sequence.request !== request)
    const running = this.#running.find((sequence) => sequence.request === request)
    if (running) this.#release(running)
  }

  /** Runs one step and returns what it gave to each sequence. */
  async step(): Promise<GenerateEvent[]> {
    this.#admit()
    const shares = this.#plan()
    if (shares.length === 0) return []
    await this.#model.step(this.#input(shares))
    for (const { sequence, count } of shares) sequence.computed += count
    const drawing = shares.map((share) => share.sequence).filter((s) => s.computed === s.tokens.length)
    if (drawing.length === 0) return []
    const ids = await this.#sampler.choose(drawing.map((sequence) => sequence.slot))
    return drawing.flatMap((sequence, row) => {
      // Cancelled while the step ran.
      if (!this.#running.includes(sequence)) return []
      const id = ids[row]!
      const kept = sequence.append(id)
      if (sequence.finished) this.#release(sequence)
      return [{ request: sequence.request, id: kept ? id : undefined, finished: sequence.finished }]
    })
  }

  free(): void {
    this.#sampler.free()
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#running.length < this.#model.limits.sequences) {
      const pages = this.#pool.take(this.#waiting[0]!.pagesNeeded)
      if (!pages) return
      const sequence = this.#waiting.shift()!
      sequence.pages = pages
      sequence.slot = this.#freeSlots.pop()!
      const { sampling, prompt, stopIds: endIds } = sequence.request
      this.#sampler.open(sequence.slot, { sampling, prompt, endIds })
      this.#running.push(sequence)
    }
  }

  #release(sequence: Sequence): void {
    this.#running = this.#running.filter((other) => other !== sequence)
    this.#pool.giveBack(sequence.pages)
    sequence.pages = []
    this.#freeSlots.push(sequence.slot)
    sequence.slot = -1
  }

  /** Sequences that decode come first, then prompts in the order of arrival, cut where the step is full. */
  #plan(): Share[] {
    const { limits } = this.#model
    const shares: Share[] = []
    let room = limits.tokens
    const pending = (sequence: Sequence) => sequence.tokens.length - sequence.computed
    const order = [
      ...this.#running.filter((sequence) => pending(sequence) === 1),
      ...this.#running.filter((sequence) => pending(sequence) > 1),
    ]
    for (const sequence of order) {
      if (room === 0 || shares.length === limits.logitRows) break
      const count = Math.min(pending(sequence), room)
      shares.push({ sequence, count })
      room -= count
    }
    return shares
  }

  #input(shares: readonly Share[]): StepInput {
    return stepOf(
      shares.map(({ sequence, count }) => {
        const { tokens, computed, pages } = sequence
        return {
          ids: tokens.slice(computed, computed + count),
          position: computed,
          pages,
          logits: computed + count === tokens.length ? 1 : 0,
        }
      }),
      this.#model.limits.pagesPerSequence,
    )
  }
}
