import type { ScheduleLimits } from '../schedule/request.ts'
import { RefusalError } from '../schedule/request.ts'
import {
  Engine,
  type EngineOptions,
  type EngineStats,
  type OngoingRequest,
  type RequestListener,
} from './engine.ts'
import type { InferenceEngine } from './inference-engine.ts'
import type { EngineRequest, ModelBounds } from './request.ts'

/** Prompts whose engine is remembered. */
const mostRecent = 4096
/** Requests that an engine may have more than another before it gets none of its prompts any more. */
const mostAhead = 32

/** Where a request is. */
interface Place {
  readonly engine: Engine
  readonly id: number
}

/**
 * Engines of the same model, each on a device of its own, as one. A request goes to the engine whose cache has most of its
 * prompt, or else to that with the fewest requests. When one loses its device its requests go on in the others, from their
 * prompts and the tokens that they were given.
 */
export class EnginePool implements InferenceEngine {
  readonly engines: readonly Engine[]
  readonly #places = new Map<number, Place>()
  /** Requests by their number in each engine. */
  readonly #ids: readonly Map<number, number>[]
  /** Engines by the first page of prompts that went there, which their caches may not know yet. */
  readonly #recent = new Map<string, Engine>()
  readonly #pageTokens: number
  #nextId = 0

  private constructor(engines: readonly Engine[], ids: readonly Map<number, number>[], pageTokens: number) {
    this.engines = engines
    this.#ids = ids
    this.#pageTokens = pageTokens
  }

  /** Starts an engine for each of `options`. */
  static async start(options: readonly Omit<EngineOptions, 'takeOver'>[]): Promise<EnginePool> {
    const ids = options.map(() => new Map<number, number>())
    const started: { pool?: EnginePool } = {}
    const engines = await Promise.all(
      options.map((one, i) => {
        const takeOver = (id: number, ongoing: OngoingRequest) => {
          const { pool } = started
          return pool ? pool.#takeOver(i, id, ongoing) : false
        }
        return Engine.start({ ...one, takeOver })
      }),
    )
    started.pool = new EnginePool(engines, ids, options[0]!.pageTokens)
    return started.pool
  }

  /** What every one of them can do. */
  get limits(): ScheduleLimits {
    const [first, ...others] = this.engines.map(({ limits }) => limits)
    return others.reduce((least, one) => (one.pages < least.pages ? one : least), first!)
  }

  get bounds(): ModelBounds {
    return this.engines[0]!.bounds
  }

  get stats(): EngineStats {
    const [first, ...others] = this.engines.map(({ stats }) => stats)
    const sum: Record<keyof EngineStats, number> = { ...first! }
    for (const one of others)
      for (const key of Object.keys(sum) as (keyof EngineStats)[]) sum[key] += one[key]
    return sum
  }

  get closed(): Error | undefined {
    return this.engines.some(({ closed }) => closed === undefined) ? undefined : this.engines[0]!.closed
  }

  get finished(): Promise<void> {
    return Promise.all(this.engines.map(({ finished }) => finished)).then(() => {})
  }

  get failed(): boolean {
    return this.engines.every(({ failed }) => failed)
  }

  add(request: EngineRequest, listener: RequestListener): number {
    const id = this.#nextId++
    const followed = this.#followed(id, listener)
    let refusal: unknown = this.engines[0]!.closed
    for (const engine of this.#inOrder(request.prompt)) {
      try {
        this.#enter(id, engine, engine.add(request, followed))
        this.#remember(request.prompt, engine)
        return id
      } catch (error) {
        refusal = error
        // Another may have room for what one has none for.
        if (!(error instanceof RefusalError && error.reason === 'full') && engine.available) throw error
      }
    }
    throw refusal
  }

  cancel(id: number): void {
    const place = this.#places.get(id)
    if (place === undefined) return
    this.#forget(id)
    place.engine.cancel(place.id)
  }

  async drain(): Promise<void> {
    await Promise.all(this.engines.map((engine) => engine.drain()))
  }

  async close(): Promise<void> {
    await Promise.all(this.engines.map((engine) => engine.close()))
  }

  /** Engines that may take a prompt, the one that should first. */
  #inOrder(prompt: ArrayLike<number>): readonly Engine[] {
    const open = this.engines.filter(({ closed }) => closed === undefined)
    const running = open.filter(({ available }) => available)
    const candidates = (running.length > 0 ? running : open).map((engine) => {
      const { running, waiting } = engine.stats
      return { engine, load: running + waiting, known: engine.knownTokens(prompt) }
    })
    const recent = this.#recent.get(this.#keyOf(prompt) ?? '')
    const least = Math.min(...candidates.map(({ load }) => load))
    return candidates
      .map(({ engine, load, known }) => {
        const isNear = load - least <= mostAhead
        return { engine, load, known: isNear ? Math.max(known, engine === recent ? this.#pageTokens : 0) : 0 }
      })
      .toSorted((a, b) => b.known - a.known || a.load - b.load)
      .map(({ engine }) => engine)
  }

  /** The first page of a prompt; prompts that have none share nothing. */
  #keyOf(prompt: ArrayLike<number>): string | undefined {
    if (prompt.length <= this.#pageTokens) return undefined
    return Array.from({ length: this.#pageTokens }, (_, i) => prompt[i]).join()
  }

  #remember(prompt: ArrayLike<number>, engine: Engine): void {
    const key = this.#keyOf(prompt)
    if (key === undefined) return
    this.#recent.delete(key)
    this.#recent.set(key, engine)
    const [oldest] = this.#recent.keys()
    if (this.#recent.size > mostRecent) this.#recent.delete(oldest!)
  }

  #takeOver(from: number, idThere: number, ongoing: OngoingRequest): boolean {
    const id = this.#ids[from]!.get(idThere)
    const { prompt } = ongoing.request
    const [engine] = this.#inOrder(prompt).filter(({ available }) => available)
    if (id === undefined || engine === undefined) return false
    const resumed = engine.resume(ongoing)
    this.#ids[from]!.delete(idThere)
    this.#enter(id, engine, resumed)
    return true
  }

  #enter(id: number, engine: Engine, idThere: number): void {
    this.#places.set(id, { engine, id: idThere })
    this.#ids[this.engines.indexOf(engine)]!.set(idThere, id)
  }

  #forget(id: number): void {
    const place = this.#places.get(id)
    if (place === undefined) return
    this.#places.delete(id)
    this.#ids[this.engines.indexOf(place.engine)]!.delete(place.id)
  }

  /** A listener that sees to it that its request is forgotten at its end. */
  #followed(id: number, listener: RequestListener): RequestListener {
    return {
      onBegin: () => listener.onBegin?.(),
      onToken: (token, finished, logProbs) => listener.onToken(token, finished, logProbs),
      onEnd: (error) => {
        this.#forget(id)
        listener.onEnd(error)
      },
    }
  }
}
