import { createHash } from 'node:crypto'
import type { Worker } from 'node:worker_threads'
import { startThread } from '../../runtime/start-thread.ts'
import type { TokenConstraint } from '../engine/constraint.ts'
import type { ConstraintSpec } from './constraint-spec.ts'
import { ConstraintError } from './error.ts'

export type GrammarTask =
  /** Begins to follow a constraint behind tokens that came already. */
  | {
      readonly kind: 'open'
      readonly id: number
      readonly key: string
      /** A `ConstraintSpec` as JSON, which, unlike what threads are sent otherwise, may be of any depth. */
      readonly spec: string
      readonly tokens: readonly number[]
    }
  | { readonly kind: 'accept'; readonly tokens: readonly { readonly id: number; readonly token: number }[] }
  | { readonly kind: 'close'; readonly id: number }

/** What a constraint has come to behind so many tokens: those that may be next, none when it is complete; or what is wrong. */
export type GrammarReply =
  | { readonly id: number; readonly count: number; readonly mask: Uint32Array | undefined }
  | { readonly id: number; readonly fault: string }

/** What a grammar says about tokens depends on the model's. */
export interface GrammarVocabulary {
  /** Folder of the tokenizer. */
  readonly folder: string
  /** Tokens that the model has logits for. */
  readonly vocabSize: number
  /** Tokens that end a text. */
  readonly endIds: readonly number[]
  /** Special tokens that are text all the same. */
  readonly shownIds: readonly number[]
}

export interface GrammarThreadData extends GrammarVocabulary {
  /** One number, the constraint that the thread works for. */
  readonly working: SharedArrayBuffer
}

export interface GrammarThreadsOptions {
  /** Threads at most; none runs before there is a constraint. Default 2. */
  readonly threads?: number
  /** A constraint for which a thread works longer at a time is given up. Default 5 seconds. */
  readonly taskMilliseconds?: number
}

/** Opens constraints. */
export interface ConstraintService {
  /** Rejects with `ConstraintError` for what cannot be followed. */
  open(spec: ConstraintSpec): Promise<TokenConstraint>
  close(): Promise<void>
}

/** Time that a thread has to load its tokenizer and XGrammar. */
const startMilliseconds = 60_000
const longestSpec = 2 ** 18
/** Grammars that a place is taken to know. */
const mostKeys = 64

/**
 * Follows constraints in threads. A constraint stays where it was opened; one whose grammar some thread knows already goes
 * there, any other to a thread that follows none, or else the fewest.
 *
 * A constraint that takes a thread too long, or breaks it, is given up; the others of that thread go on in a new one from
 * their tokens so far.
 */
export class GrammarThreads implements ConstraintService {
  readonly #places: readonly Place[]
  #nextId = 0
  #closed = false

  constructor(
    vocabulary: GrammarVocabulary,
    { threads = 2, taskMilliseconds = 5000 }: GrammarThreadsOptions = {},
  ) {
    this.#places = Array.from({ length: threads }, () => new Place(vocabulary, taskMilliseconds))
  }

  async open(spec: ConstraintSpec): Promise<TokenConstraint> {
    if (this.#closed) throw new ConstraintError('the server is shutting down')
    const json = JSON.stringify(spec)
    if (json.length > longestSpec)
      throw new ConstraintError(
        `the schema or expression has ${json.length} characters; ${longestSpec} are the most`,
      )
    const key = createHash('sha256').update(json).digest('base64')
    const constraint = new FollowedConstraint(this.#nextId++, key, json, this.#placeFor(key))
    if ((await constraint.open()) === 'complete') {
      constraint.close()
      throw new ConstraintError('only an empty text is allowed; ask for something')
    }
    return constraint
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#places.map((place) => place.end()))
  }

  #placeFor(key: string): Place {
    const knowing = this.#places.find((place) => place.keys.has(key))
    if (knowing) return knowing
    return this.#places.reduce((best, place) =>
      place.constraints.size < best.constraints.size ? place : best,
    )
  }
}

/** One constraint, as the parent knows it: all of it is its tokens. */
class FollowedConstraint implements TokenConstraint {
  readonly id: number
  readonly key: string
  readonly spec: string
  readonly tokens: number[] = []
  readonly #place: Place
  #mask: Uint32Array = new Uint32Array(0)
  #resolve: (state: 'open' | 'complete') => void = () => {}
  #reject: (error: Error) => void = () => {}

  constructor(id: number, key: string, spec: string, place: Place) {
    this.id = id
    this.key = key
    this.spec = spec
    this.#place = place
  }

  get mask(): Uint32Array {
    return this.#mask
  }

  open(): Promise<'open' | 'complete'> {
    const state = this.#awaited()
    this.#place.add(this)
    return state
  }

  accept(token: number): Promise<'open' | 'complete'> {
    this.tokens.push(token)
    const state = this.#awaited()
    this.#place.accept(this, token)
    return state
  }

  close(): void {
    this.#place.remove(this)
  }

  take(reply: GrammarReply): void {
    if ('fault' in reply) this.fail(new ConstraintError(reply.fault))
    // Taken up again in another thread, it may have come to more by now.
    else if (reply.count === this.tokens.length) {
      if (reply.mask) this.#mask = reply.mask
      this.#resolve(reply.mask ? 'open' : 'complete')
    }
  }

  fail(error: Error): void {
    this.#place.remove(this)
    this.#reject(error)
  }

  #awaited(): Promise<'open' | 'complete'> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }
}

/** A place for a thread, and the constraints that it follows. */
class Place {
  readonly constraints = new Map<number, FollowedConstraint>()
  /** Of grammars that the thread has compiled, the oldest first. */
  readonly keys = new Set<string>()
  readonly #vocabulary: GrammarVocabulary
  readonly #taskMilliseconds: number
  #worker: Worker | undefined
  #working: Int32Array = new Int32Array(1)
  /** Tasks, and the start of the thread, that have not been answered. */
  #unanswered = 0
  #started = false
  #timer: NodeJS.Timeout | undefined
  /** Tokens that go out together. */
  #outgoing: { id: number; token: number }[] = []

  constructor(vocabulary: GrammarVocabulary, taskMilliseconds: number) {
    this.#vocabulary = vocabulary
    this.#taskMilliseconds = taskMilliseconds
  }

  add(constraint: FollowedConstraint): void {
    const { id, key, spec, tokens } = constraint
    this.constraints.set(id, constraint)
    this.keys.add(key)
    const [oldest] = this.keys
    if (this.keys.size > mostKeys) this.keys.delete(oldest!)
    this.#post({ kind: 'open', id, key, spec, tokens })
  }

  accept({ id }: FollowedConstraint, token: number): void {
    this.#outgoing.push({ id, token })
    // All tokens of a step come at once.
    if (this.#outgoing.length === 1) queueMicrotask(() => this.#flush())
  }

  remove({ id }: FollowedConstraint): void {
    if (!this.constraints.delete(id)) return
    this.#outgoing = this.#outgoing.filter((one) => one.id !== id)
    this.#worker?.postMessage({ kind: 'close', id } satisfies GrammarTask)
  }

  /** Ends the thread; whoever waits for it is told. */
  async end(): Promise<void> {
    clearTimeout(this.#timer)
    const worker = this.#worker
    this.#worker = undefined
    for (const constraint of [...this.constraints.values()])
      constraint.fail(new ConstraintError('the server is shutting down'))
    await worker?.terminate()
  }

  #flush(): void {
    const tokens = this.#outgoing
    this.#outgoing = []
    if (tokens.length > 0) this.#post({ kind: 'accept', tokens })
  }

  #post(task: GrammarTask): void {
    const worker = this.#worker ?? this.#start()
    this.#unanswered++
    if (this.#unanswered === 1) this.#watch()
    worker.postMessage(task)
  }

  #start(): Worker {
    this.#working = new Int32Array(new SharedArrayBuffer(4)).fill(-1)
    const workerData: GrammarThreadData = {
      ...this.#vocabulary,
      working: this.#working.buffer as SharedArrayBuffer,
    }
    const worker = startThread(import.meta.url, './grammar-thread', { workerData })
    this.#worker = worker
    this.#started = false
    this.#unanswered = 1
    this.#watch()
    worker.on('message', (replies: readonly GrammarReply[]) => {
      if (worker !== this.#worker) return
      this.#unanswered--
      this.#started = true
      this.#watch()
      for (const reply of replies) this.constraints.get(reply.id)?.take(reply)
    })
    worker.on('error', (error) => {
      if (worker === this.#worker) this.#replace(error)
    })
    return worker
  }

  /** Gives the thread its time for what it does now. */
  #watch(): void {
    clearTimeout(this.#timer)
    if (this.#unanswered === 0) return
    this.#timer = setTimeout(
      () => this.#replace(new ConstraintError('the constraint takes too long to follow; make it simpler')),
      this.#started ? this.#taskMilliseconds : startMilliseconds,
    )
  }

  /** Gives up what a thread was working for, and goes on with the rest in another. */
  #replace(error: Error): void {
    clearTimeout(this.#timer)
    void this.#worker?.terminate()
    this.#worker = undefined
    this.keys.clear()
    this.#outgoing = []
    const guilty = this.constraints.get(this.#working[0]!)
    guilty?.fail(new ConstraintError(error.message))
    // A thread that cannot even start is of no use to any of them.
    if (!this.#started) for (const constraint of [...this.constraints.values()]) constraint.fail(error)
    for (const constraint of this.constraints.values()) this.add(constraint)
  }
}
