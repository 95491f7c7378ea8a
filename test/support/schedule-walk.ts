import * as assert from 'uvu/assert'
import { engineStepOf } from '../../serve/engine/engine-step.ts'
import { FakeModel, fakeOutput } from '../../serve/engine/fake-model.ts'
import type { EngineRequest } from '../../serve/engine/request.ts'
import { greedy } from '../../serve/sampling.ts'
import { audit } from '../../serve/schedule/audit.ts'
import type { StepPlan } from '../../serve/schedule/plan.ts'
import { RefusalError, type ScheduleLimits } from '../../serve/schedule/request.ts'
import { Scheduler } from '../../serve/schedule/scheduler.ts'
import type { Rng } from './rng.ts'

export const walkVocabulary = 40

export type ScheduleOperation =
  | {
      readonly kind: 'add'
      /** Requests of the same theme begin with the same tokens. */
      readonly theme: number
      readonly shared: number
      /** The prompt begins with the whole last request of the theme instead, its output included. */
      readonly follows: boolean
      /** Tokens of its output that it has generated elsewhere, at most. */
      readonly generated: number
      readonly own: number
      readonly maxTokens: number
      readonly minTokens: number
      readonly stops: boolean
      readonly priority: number
      readonly client: string
      readonly seed: number
    }
  /** Drops the request that came so many (modulo) ago. */
  | { readonly kind: 'cancel'; readonly back: number }
  | { readonly kind: 'plan' }
  | { readonly kind: 'collect' }

interface Expected {
  readonly request: EngineRequest
  readonly output: readonly number[]
  readonly given: number[]
}

/**
 * Takes a scheduler through operations on a model that keeps its context in the pages. After each the books are audited, and
 * each token must be the one that the request gives alone.
 */
export class ScheduleWalk {
  readonly scheduler: Scheduler<EngineRequest>
  readonly #model: FakeModel
  readonly #expected = new Map<number, Expected>()
  /** Ids that steps gave and that have not been collected. */
  readonly #results: { plan: StepPlan<EngineRequest>; ids: Int32Array }[] = []
  readonly #pageTokens: number
  readonly #prompts = new Map<string, readonly number[]>()
  /** The last request of each theme and its output. */
  readonly #last = new Map<number, readonly number[]>()
  finished = 0

  constructor(limits: ScheduleLimits, pageTokens: number) {
    this.scheduler = new Scheduler(limits, pageTokens)
    this.#pageTokens = pageTokens
    this.#model = new FakeModel({
      vocabSize: walkVocabulary,
      pages: limits.pages,
      pageTokens,
      wholeContext: true,
    })
  }

  do(operation: ScheduleOperation): void {
    switch (operation.kind) {
      case 'add':
        this.#add(operation)
        break
      case 'cancel': {
        const ids = [...this.#expected.keys()]
        const id = ids[ids.length - 1 - (operation.back % Math.max(1, ids.length))]
        if (id === undefined) break
        assert.ok(this.scheduler.cancel(id), `request ${id} is gone`)
        this.#expected.delete(id)
        break
      }
      case 'plan':
        if (this.#results.length > 1) this.#collect()
        this.#plan()
        break
      case 'collect':
        this.#collect()
    }
    audit(this.scheduler)
  }

  /** Runs until nothing is left, and checks that nothing is. */
  drain(): void {
    let work = 10
    for (const { request, given } of this.#expected.values())
      work += 4 * (request.prompt.length + 2 * request.maxTokens - given.length)
    for (; this.scheduler.busy; work--) {
      assert.ok(work > 0, `${this.#expected.size} requests do not get on`)
      this.do({ kind: 'plan' })
      if (this.#results.length > 1 || !this.scheduler.stats.running) this.do({ kind: 'collect' })
      else if (this.scheduler.running.every((sequence) => sequence.exhausted)) this.do({ kind: 'collect' })
    }
    assert.is(this.#expected.size, 0)
    const { heldPages, running, waiting } = this.scheduler.stats
    assert.equal({ heldPages, running, waiting }, { heldPages: 0, running: 0, waiting: 0 })
  }

  #add(operation: Extract<ScheduleOperation, { kind: 'add' }>): void {
    const { theme, shared, follows, own, maxTokens, minTokens, stops, priority, client, seed } = operation
    const begin = Array.from({ length: shared }, (_, i) => (theme * 7 + i * (theme + 1)) % walkVocabulary)
    const fresh = [
      ...((follows && this.#last.get(theme)) || begin),
      ...Array.from({ length: own }, (_, i) => (seed * 11 + i * 5) % walkVocabulary),
    ]
    // Requests of equal prompts share one, as choices do.
    const prompt = this.#prompts.get(String(fresh)) ?? fresh
    this.#prompts.set(String(prompt), prompt)
    const sampling = { ...greedy, seed, minTokens }
    const stopIds = stops ? [3, 17] : []
    const whole: EngineRequest = { prompt, maxTokens, stopIds, priority, client, sampling }
    const output = fakeOutput(whole, walkVocabulary)
    const generated = output.slice(0, Math.min(operation.generated, output.length - 1))
    const request = { ...whole, generated }
    this.#last.set(theme, [...prompt, ...output])
    try {
      const id = this.scheduler.add(request)
      this.#expected.set(id, { request, output, given: [...generated] })
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error
      const { limits } = this.scheduler
      const pages = Math.ceil((prompt.length + maxTokens - 1) / this.#pageTokens)
      const impossible =
        prompt.length === 0 || prompt.length + maxTokens > limits.context || pages > limits.pages
      assert.is(error.reason, impossible ? 'impossible' : 'full')
      if (!impossible) assert.ok(this.scheduler.waiting.length >= limits.waiting)
    }
  }

  #plan(): void {
    const plan = this.scheduler.plan()
    if (!plan) return
    const planned = new Set(plan.shares.map(({ sequence }) => sequence))
    assert.is(planned.size, plan.shares.length, 'a sequence is planned twice')
    this.#results.push({ plan, ids: this.#model.run(engineStepOf(plan)) })
  }

  #collect(): void {
    const result = this.#results.shift()
    if (!result) return
    for (const { id, token, finished } of this.scheduler.collect(result.plan, result.ids)) {
      const expected = this.#expected.get(id)
      assert.ok(expected, `request ${id} is over and gets a token`)
      const { output, given, request } = expected!
      assert.is(token, output[given.length], `token ${given.length} of request ${id}`)
      given.push(token)
      assert.is(finished !== undefined, given.length === output.length, `the end of request ${id}`)
      if (!finished) continue
      assert.is(finished, request.stopIds.includes(token) ? 'stop' : 'length')
      this.#expected.delete(id)
      this.finished++
    }
  }
}

/** Random limits, mostly too tight. */
export function randomLimits({ integer }: Rng): { limits: ScheduleLimits; pageTokens: number } {
  const sequences = integer(1, 8)
  const pageTokens = 2 ** integer(0, 3)
  const pages = integer(3, 40)
  return {
    limits: {
      sequences,
      tokens: sequences + integer(0, 20),
      pages,
      context: integer(8, 90),
      waiting: integer(1, 12),
      watermark: integer(0, 3),
      promptsFirst: integer(0, 1) === 1,
    },
    pageTokens,
  }
}

export function randomOperation({ integer, uniform }: Rng): ScheduleOperation {
  const choice = uniform()
  if (choice < 0.4) return { kind: 'plan' }
  if (choice < 0.7) return { kind: 'collect' }
  if (choice < 0.78) return { kind: 'cancel', back: integer(0, 20) }
  return {
    kind: 'add',
    theme: integer(0, 2),
    shared: integer(0, 30),
    follows: uniform() < 0.3,
    generated: uniform() < 0.2 ? integer(1, 20) : 0,
    own: integer(0, 10),
    maxTokens: integer(1, 25),
    minTokens: integer(0, 6),
    stops: uniform() < 0.5,
    priority: integer(0, 2),
    client: `c${integer(0, 2)}`,
    seed: integer(0, 9),
  }
}
