import type { StepPlan, TokenEvent } from '../schedule/plan.ts'
import type { ScheduleLimits } from '../schedule/request.ts'
import { Scheduler, type ScheduleStats } from '../schedule/scheduler.ts'
import type { FinishReason } from '../schedule/sequence.ts'
import { engineStepOf } from './engine-step.ts'
import type { InferenceEngine } from './inference-engine.ts'
import { checkEngineRequest, type EngineRequest, type ModelBounds } from './request.ts'
import type { StepLogProbs, StepResult, StepRunner } from './step-runner.ts'

/**
 * Gets what a request is given. Every request that is taken ends with one call of `onEnd`, unless it is cancelled. A
 * listener that throws ends its request.
 */
export interface RequestListener {
  /** A step is planned that begins with it: the first time, and after it gave up its pages. */
  onBegin?(): void
  /** The next token. With `stop` it is a stop token, which is no text. */
  onToken(token: number, finished: FinishReason | undefined, logProbs: TokenLogProbs | undefined): void
  /**
   * No token will come any more, be it that the last one was finished or that its constraint lets none follow; with an error
   * the request was not completed.
   */
  onEnd(error?: Error): void
}

/** How likely a token was, where its request asked for it. */
export interface TokenLogProbs {
  readonly chosen: number
  /** The likeliest tokens, as many as were asked for, the likeliest first. */
  readonly top: readonly { readonly id: number; readonly logProb: number }[]
}

export interface EngineOptions {
  readonly limits: ScheduleLimits
  /** Tokens of a page of the cache. */
  readonly pageTokens: number
  /** Opens what steps run on; called again when it has failed. */
  readonly openRunner: () => Promise<StepRunner>
  /** A step that takes longer has failed. Default 60 seconds. */
  readonly stepMilliseconds?: number
  /** Called with the reason before what steps run on is opened again. */
  readonly onRestart?: (cause: Error) => void
  /** After so many failures without a step between them the engine gives up. Default 3. */
  readonly failures?: number
  /**
   * Offered each request when what steps run on is lost; returns whether it goes on elsewhere. Those that do not wait for
   * what steps run on to be opened again.
   */
  readonly takeOver?: (id: number, request: OngoingRequest) => boolean
}

/** What runs has failed for good, or the engine was closed. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
}

/** A request on its way, with all from which it can go on elsewhere. */
export interface OngoingRequest {
  readonly request: EngineRequest
  readonly listener: RequestListener
  /** All tokens that were given. */
  readonly generated: number[]
  /** What its constraint lets follow, while that is not known yet. */
  held: Promise<'open' | 'complete'> | undefined
}

interface Entry extends OngoingRequest {
  /** Its number in the present scheduler. */
  scheduled: number
}

interface RunningStep {
  readonly plan: StepPlan<EngineRequest>
  readonly result: Promise<StepResult>
}

export interface EngineStats extends ScheduleStats {
  /** Steps that have run since the start: as long as requests run, it grows. */
  readonly steps: number
  readonly restarts: number
  /** Tokens of the prompts that were taken, and tokens given. */
  readonly promptTokens: number
  readonly generatedTokens: number
}

/**
 * Runs requests: plans a step while the one before it runs, and hands out tokens as they are read, one step late.
 *
 * When a step fails or does not end, what it ran on is closed and opened anew, and every request goes on from its prompt
 * and the tokens that it was given: listeners see a pause, and no token is lost or comes twice.
 */
export class Engine implements InferenceEngine {
  readonly #options: EngineOptions
  #scheduler: Scheduler<EngineRequest>
  #runner: StepRunner
  readonly #entries = new Map<number, Entry>()
  /** Requests by their number in the present scheduler. */
  #scheduledIds = new Map<number, number>()
  /** Why what runs steps is lost, when it was lost while nothing ran. */
  #lost: Error | undefined
  #nextId = 0
  #closed: Error | undefined
  #failed = false
  #wake: () => void = () => {}
  #drained: (() => void)[] = []
  readonly #loop: Promise<void>
  #restarting = false
  /** Counts of schedulers that are no more. */
  #before = { preemptions: 0, prefixQueries: 0, prefixHits: 0 }
  #steps = 0
  #restarts = 0
  #failures = 0
  #promptTokens = 0
  #generatedTokens = 0

  private constructor(options: EngineOptions, runner: StepRunner) {
    this.#options = options
    this.#runner = runner
    this.#scheduler = new Scheduler(options.limits, options.pageTokens)
    this.#watch(runner)
    this.#loop = this.#run()
  }

  static async start(options: EngineOptions): Promise<Engine> {
    return new Engine(options, await options.openRunner())
  }

  get limits(): ScheduleLimits {
    return this.#options.limits
  }

  /** What requests may ask of what steps run on. */
  get bounds(): ModelBounds {
    return this.#runner.bounds
  }

  get stats(): EngineStats {
    const { preemptions, prefixQueries, prefixHits } = this.#before
    const now = this.#scheduler.stats
    return {
      ...now,
      preemptions: preemptions + now.preemptions,
      prefixQueries: prefixQueries + now.prefixQueries,
      prefixHits: prefixHits + now.prefixHits,
      steps: this.#steps,
      restarts: this.#restarts,
      promptTokens: this.#promptTokens,
      generatedTokens: this.#generatedTokens,
    }
  }

  get engines(): readonly Engine[] {
    return [this]
  }

  /** Whether steps run: it is neither closed nor waits for what they run on. */
  get available(): boolean {
    return this.#closed === undefined && !this.#restarting
  }

  /** How many tokens of a prompt need not be computed, since they are in the cache. */
  knownTokens(prompt: ArrayLike<number>): number {
    return this.#scheduler.cache.knownTokens(Int32Array.from(prompt))
  }

  /** Why the engine takes no requests any more; `undefined` while it does. */
  get closed(): Error | undefined {
    return this.#closed
  }

  /** Ends when the engine is closed or has given up, or has drained. */
  get finished(): Promise<void> {
    return this.#loop
  }

  /** Whether it has given up, because steps fail over and over. */
  get failed(): boolean {
    return this.#failed
  }

  /** Takes a request and returns its number. Throws `RefusalError`, or `EngineError` when the engine is closed. */
  add(request: EngineRequest, listener: RequestListener): number {
    if (this.#closed) throw this.#closed
    checkEngineRequest(request, this.#runner.bounds)
    const scheduled = this.#scheduler.add(request)
    const generated = Array.from(request.generated ?? [])
    this.#promptTokens += request.prompt.length
    return this.#enter({ request, listener, generated, held: undefined, scheduled })
  }

  /** Takes a request that another engine had taken, however many wait, and returns its number. Throws as `add` does. */
  resume(ongoing: OngoingRequest): number {
    if (this.#closed) throw this.#closed
    const { request, generated, held } = ongoing
    const entry = { ...ongoing, scheduled: this.#scheduler.resume({ ...request, generated }) }
    const id = this.#enter(entry)
    if (held) this.#hold(id, entry, held)
    return id
  }

  #enter(entry: Entry): number {
    const id = this.#nextId++
    this.#entries.set(id, entry)
    this.#scheduledIds.set(entry.scheduled, id)
    this.#wake()
    return id
  }

  /** Drops a request; its listener hears nothing more. Its pages are free for the next step that is planned. */
  cancel(id: number): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#scheduler.cancel(entry.scheduled)
    this.#forget(id, entry)
    this.#wake()
  }

  /** Takes no more requests and waits for those that it has. */
  async drain(): Promise<void> {
    this.#closed ??= new EngineError('the engine is shutting down and takes no requests')
    this.#wake()
    if (this.#entries.size > 0) await new Promise<void>((resolve) => this.#drained.push(resolve))
  }

  /** Ends the requests that are left with an error, and closes what steps run on. */
  async close(): Promise<void> {
    this.#end(new EngineError('the engine was closed'))
    await this.#loop
    await this.#runner.close()
  }

  async #run(): Promise<void> {
    let running: RunningStep | undefined
    while (!this.#closed || this.#entries.size > 0 || running) {
      try {
        const plan = this.#scheduler.plan()
        const next = plan && this.#submit(plan)
        const previous = running
        running = next
        if (previous) await this.#collect(previous)
        else if (!next) await this.#untilWoken()
        if (this.#lost) throw this.#lost
      } catch (error) {
        running = undefined
        await this.#restart(error as Error)
      }
    }
  }

  #watch(runner: StepRunner): void {
    this.#lost = undefined
    runner.failure?.catch((error: Error) => {
      if (runner !== this.#runner) return
      this.#lost = error
      this.#wake()
    })
  }

  #submit(plan: StepPlan<EngineRequest>): RunningStep {
    const result = this.#runner.submit(engineStepOf(plan))
    for (const { sequence, begins } of plan.shares)
      if (begins) this.#tell(this.#scheduledIds.get(sequence.id)!, (listener) => listener.onBegin?.())
    // It is waited for one step later; until then a failure is nobody's.
    result.catch(() => {})
    return { plan, result }
  }

  async #collect({ plan, result }: RunningStep): Promise<void> {
    const { ids, logProbs } = await this.#inTime(result)
    this.#steps++
    this.#failures = 0
    for (const event of this.#scheduler.collect(plan, ids)) this.#give(event, logProbs)
  }

  async #inTime<T>(result: Promise<T>): Promise<T> {
    const { stepMilliseconds = 60_000 } = this.#options
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new EngineError(`a step did not end within ${stepMilliseconds} ms`)),
        stepMilliseconds,
      )
    })
    try {
      return await Promise.race([result, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #give(event: TokenEvent<EngineRequest>, logProbs: StepLogProbs | undefined): void {
    const { id: scheduled, token, finished } = event
    const id = this.#scheduledIds.get(scheduled)!
    const entry = this.#entries.get(id)
    // A listener may have cancelled it since the ids of this step were taken.
    if (entry === undefined) return
    entry.generated.push(token)
    this.#generatedTokens++
    if (finished) this.#forget(id, entry)
    this.#tell(
      id,
      (listener) => {
        listener.onToken(token, finished, logProbs && tokenLogProbs(event, logProbs))
        if (finished) listener.onEnd()
      },
      entry,
    )
    if (!finished) this.#constrain(id, entry, token)
  }

  /** Holds a request that has a constraint until it is known what may follow its token. */
  #constrain(id: number, entry: Entry, token: number): void {
    const { constraint } = entry.request
    // Its listener may have cancelled it.
    if (constraint !== undefined && this.#entries.has(id)) this.#hold(id, entry, constraint.accept(token))
  }

  #hold(id: number, entry: Entry, held: Promise<'open' | 'complete'>): void {
    entry.held = held
    this.#scheduler.hold(entry.scheduled)
    const isHere = () => this.#entries.get(id) === entry
    held.then(
      (state) => {
        if (!isHere()) return
        entry.held = undefined
        if (state === 'complete') this.#endEarly(id)
        else this.#scheduler.release(entry.scheduled)
        this.#wake()
      },
      (error: Error) => {
        if (isHere()) this.#endEarly(id, error)
      },
    )
  }

  /** Ends a request though more tokens could be drawn for it. */
  #endEarly(id: number, error?: Error): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.cancel(id)
    entry.listener.onEnd(error)
  }

  /** Calls a request's listener, whose errors are its own. */
  #tell(id: number, call: (listener: RequestListener) => void, entry = this.#entries.get(id)): void {
    if (entry === undefined) return
    try {
      call(entry.listener)
    } catch (error) {
      this.#endEarly(id, error as Error)
    }
  }

  #forget(id: number, entry: Entry): void {
    entry.request.constraint?.close()
    this.#leave(id, entry)
  }

  #leave(id: number, { scheduled }: Entry): void {
    this.#entries.delete(id)
    this.#scheduledIds.delete(scheduled)
    if (this.#entries.size > 0) return
    for (const resolve of this.#drained.splice(0)) resolve()
  }

  #untilWoken(): Promise<void> {
    if (this.#closed && this.#entries.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  /** Goes on with the same requests on a runner that is opened anew. */
  async #restart(cause: Error): Promise<void> {
    this.#failures++
    if (this.#failures > (this.#options.failures ?? 3)) {
      this.#failed = true
      // The cause is for the log; clients have no use for it.
      this.#end(new EngineError('steps fail over and over', { cause }))
      return
    }
    this.#restarts++
    this.#restarting = true
    this.#options.onRestart?.(cause)
    for (const [id, entry] of [...this.#entries])
      if (this.#options.takeOver?.(id, { ...entry })) {
        this.#scheduler.cancel(entry.scheduled)
        this.#leave(id, entry)
      }
    await this.#runner.close().catch(() => {})
    try {
      this.#runner = await this.#options.openRunner()
      this.#watch(this.#runner)
    } catch (error) {
      await this.#restart(error as Error)
      return
    }
    const { preemptions, prefixQueries, prefixHits } = this.stats
    this.#before = { preemptions, prefixQueries, prefixHits }
    this.#scheduler = new Scheduler(this.#options.limits, this.#options.pageTokens)
    this.#scheduledIds = new Map()
    this.#restarting = false
    for (const [id, entry] of this.#entries) {
      entry.scheduled = this.#scheduler.resume({ ...entry.request, generated: entry.generated })
      this.#scheduledIds.set(entry.scheduled, id)
      if (entry.held) this.#scheduler.hold(entry.scheduled)
    }
  }

  #end(error: Error): void {
    this.#closed = error
    for (const [id, entry] of [...this.#entries]) {
      this.#scheduler.cancel(entry.scheduled)
      this.#forget(id, entry)
      entry.listener.onEnd(error)
    }
    this.#wake()
  }
}

function tokenLogProbs(
  { row, request }: TokenEvent<EngineRequest>,
  { chosen, topIds, top, most }: StepLogProbs,
): TokenLogProbs | undefined {
  const { topLogProbs } = request.sampling
  if (topLogProbs === undefined) return undefined
  const places = Array.from({ length: Math.min(topLogProbs, most) }, (_, i) => row * most + i)
  return {
    chosen: chosen[row]!,
    top: places
      .filter((place) => topIds[place]! >= 0)
      .map((place) => ({ id: topIds[place]!, logProb: top[place]! })),
  }
}
