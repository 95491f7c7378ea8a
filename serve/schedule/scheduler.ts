import { PageCache } from './page-cache.ts'
import type { Share, StepPlan, TokenEvent } from './plan.ts'
import { Ranked } from './ranked.ts'
import { checkRequest, pagesOf, RefusalError, type ScheduleLimits, type ScheduleRequest } from './request.ts'
import { ScheduledSequence } from './sequence.ts'
import { Turns } from './turns.ts'

/** Counters since the start, and how things stand. */
export interface ScheduleStats {
  readonly running: number
  readonly waiting: number
  /** Pages that sequences hold. */
  readonly heldPages: number
  /** Pages that only hold known prefixes. */
  readonly idlePages: number
  readonly pages: number
  readonly preemptions: number
  /** Tokens of admitted sequences, and those of them that were found in the cache. */
  readonly prefixQueries: number
  readonly prefixHits: number
}

/**
 * Decides what each step of a model computes. It only keeps books: `plan` says what to run, `collect` takes the ids that
 * the step sampled, and neither waits for anything.
 *
 * Sequences that decode come first, one token each; the rest of the step's tokens go to prompts, in pieces, and to generated
 * tokens that have to be computed again, a few at a time. The next step
 * is planned before the ids of the last one are known: a sequence's next token is then named by the row that samples it,
 * and when it turns out to have ended its sequence, the step that was planned meanwhile is ignored for that sequence.
 *
 *   plan 0 | plan 1, collect 0 | plan 2, collect 1 | …
 *
 * When pages run out, the sequence of the lowest rank gives up its pages and waits again, to be computed anew from its
 * tokens (which the prefixes that are still cached make cheap); so the one of the highest rank always gets on.
 */
export class Scheduler<R extends ScheduleRequest = ScheduleRequest> {
  readonly limits: ScheduleLimits
  readonly cache: PageCache
  readonly #sequences = new Map<number, ScheduledSequence<R>>()
  readonly #waiting = new Ranked<ScheduledSequence<R>>()
  readonly #running = new Ranked<ScheduledSequence<R>>()
  readonly #turns = new Turns()
  readonly #freeSlots: number[]
  /** Plans whose ids have not been read. */
  #uncollected: StepPlan<R>[] = []
  #nextId = 0
  #nextStep = 0
  #preemptions = 0
  #prefixQueries = 0
  #prefixHits = 0

  constructor(limits: ScheduleLimits, pageTokens: number) {
    if (limits.tokens < limits.sequences)
      throw new RangeError(`a step of ${limits.tokens} tokens cannot decode ${limits.sequences} sequences`)
    this.limits = limits
    this.cache = new PageCache(limits.pages, pageTokens)
    this.#freeSlots = Array.from({ length: limits.sequences }, (_, i) => limits.sequences - 1 - i)
  }

  /** Takes a request and returns its number. Throws `RefusalError`. */
  add(request: R): number {
    checkRequest(request, this.limits, this.cache.pageTokens)
    if (this.#waiting.size >= this.limits.waiting)
      throw new RefusalError('full', `${this.#waiting.size} requests are waiting already; try again later`)
    return this.#queue(request)
  }

  /** Takes back a request that another scheduler had taken, however many wait. */
  resume(request: R): number {
    checkRequest(request, this.limits, this.cache.pageTokens)
    return this.#queue(request)
  }

  #queue(request: R): number {
    const id = this.#nextId++
    const sequence = new ScheduledSequence(id, request, this.#turns.take(clientOf(request)))
    this.#sequences.set(id, sequence)
    this.#waiting.add(sequence)
    return id
  }

  /** Drops a request, wherever it is; what steps that run give it is ignored. Returns whether it was still there. */
  cancel(id: number): boolean {
    const sequence = this.#sequences.get(id)
    if (sequence === undefined) return false
    this.#remove(sequence)
    return true
  }

  /** Samples nothing more for a request before it is released. */
  hold(id: number): void {
    const sequence = this.#sequences.get(id)
    if (sequence) sequence.held = true
  }

  release(id: number): void {
    const sequence = this.#sequences.get(id)
    if (sequence) sequence.held = false
  }

  /** Whether there are requests, or steps whose ids have not been read. */
  get busy(): boolean {
    return this.#sequences.size > 0 || this.#uncollected.length > 0
  }

  get running(): readonly ScheduledSequence<R>[] {
    return this.#running.items
  }

  get waiting(): readonly ScheduledSequence<R>[] {
    return this.#waiting.items
  }

  /** Plans that have not been collected, the oldest first. */
  get uncollected(): readonly StepPlan<R>[] {
    return this.#uncollected
  }

  get stats(): ScheduleStats {
    const { available, idle, pages } = this.cache
    return {
      running: this.#running.size,
      waiting: this.#waiting.size,
      heldPages: pages - available,
      idlePages: idle,
      pages,
      preemptions: this.#preemptions,
      prefixQueries: this.#prefixQueries,
      prefixHits: this.#prefixHits,
    }
  }

  /** The next step; `undefined` when there is nothing to run. At most one earlier step may be uncollected. */
  plan(): StepPlan<R> | undefined {
    if (this.#uncollected.length > 1)
      throw new RangeError(
        'two steps have not been collected; collect the older one before the next is planned',
      )
    for (const sequence of this.#running.items) this.#publish(sequence)
    this.#makeRoom()
    const draft = new Draft<R>(this.#uncollected.at(-1))
    if (this.limits.promptsFirst && this.#promptsFillStep()) this.#planPrompts(draft)
    else {
      const preemptions = this.#preemptions
      this.#planDecoding(draft)
      // Pages that running sequences have just fought for are not given to more of them.
      if (this.#preemptions === preemptions) this.#admit(this.limits.tokens - draft.tokens)
      this.#planPrompts(draft)
      this.#planRest(draft)
    }
    if (draft.tokens === 0) return undefined
    const plan = draft.finish(this.#nextStep++)
    this.#uncollected.push(plan)
    return plan
  }

  /**
   * Takes the ids that a step sampled, by row; steps are collected in their order. The one place where sequences end.
   */
  collect(plan: StepPlan<R>, ids: ArrayLike<number>): TokenEvent<R>[] {
    if (plan !== this.#uncollected[0])
      throw new RangeError(`step ${plan.step} is not the oldest that has not been collected`)
    if (ids.length < plan.rows)
      throw new RangeError(`step ${plan.step} has ${plan.rows} rows, got ${ids.length} ids`)
    this.#uncollected.shift()
    const events: TokenEvent<R>[] = []
    for (const { sequence, row } of plan.shares) {
      // Sequences that ended since the step was planned have no use for its tokens.
      if (row < 0 || this.#sequences.get(sequence.id) !== sequence) continue
      const token = ids[row]!
      sequence.pending--
      const finished = sequence.append(token)
      if (finished) this.#remove(sequence)
      events.push({ id: sequence.id, request: sequence.request, token, row, finished })
    }
    return events
  }

  #remove(sequence: ScheduledSequence<R>): void {
    this.#sequences.delete(sequence.id)
    this.#turns.leave(clientOf(sequence.request))
    if (!this.#waiting.remove(sequence)) {
      this.#running.remove(sequence)
      // Only the sequence itself could have gone on from what it generated.
      this.#release(sequence, Math.floor(sequence.request.prompt.length / this.cache.pageTokens))
    }
  }

  /** Makes the full pages of a sequence known whose tokens have been planned and can be told. */
  #publish(sequence: ScheduledSequence<R>): void {
    const { cache } = this
    const { nodes, pages } = sequence
    const full = Math.floor(Math.min(sequence.known, sequence.scheduled) / cache.pageTokens)
    while (nodes.length < full) {
      const index = nodes.length
      const start = index * cache.pageTokens
      const run = sequence.run(start, start + cache.pageTokens)
      const node = cache.register(pages[index]!, nodes.at(-1) ?? cache.tree.root, run)
      pages[index] = node.page
      nodes.push(node)
    }
  }

  /** Takes back what a running sequence has; nobody will look for its pages from `end` on. */
  #release(sequence: ScheduledSequence<R>, end?: number): void {
    this.#publish(sequence)
    this.#freeSlots.push(sequence.slot)
    sequence.slot = -1
    sequence.begun = false
    this.cache.giveBack(sequence.pages, end)
    sequence.pages = []
    sequence.nodes.length = 0
    sequence.scheduled = 0
  }

  #preempt(sequence: ScheduledSequence<R>): void {
    this.#running.remove(sequence)
    this.#release(sequence)
    this.#waiting.add(sequence)
    this.#preemptions++
  }

  #planDecoding(draft: Draft<R>): void {
    // Preemption takes from the end of the list, behind where this is.
    for (let i = 0; i < this.#running.size; i++) {
      const sequence = this.#running.items[i]!
      if (sequence.remaining !== 1 || sequence.plannable !== 1 || sequence.exhausted) continue
      if (this.#growOrPreempt(sequence)) draft.add(sequence, 1)
    }
  }

  /** Sees to a page for a sequence's next token. Returns false when the sequence itself had to give up its pages. */
  #growOrPreempt(sequence: ScheduledSequence<R>): boolean {
    if (sequence.scheduled < sequence.pages.length * this.cache.pageTokens) return true
    for (;;) {
      const page = this.cache.take()
      if (page !== undefined) {
        sequence.pages.push(page)
        return true
      }
      const victim = this.#running.last!
      this.#preempt(victim)
      if (victim === sequence) return false
    }
  }

  #planPrompts(draft: Draft<R>): void {
    for (const sequence of this.#running.items) {
      const room = this.limits.tokens - draft.tokens
      if (room === 0) return
      const { remaining, plannable } = sequence
      if (remaining > 1 && plannable > 0) draft.add(sequence, Math.min(room, plannable))
    }
  }

  /** Plans the only token of sequences that have just been let in, which have the page for it. */
  #planRest(draft: Draft<R>): void {
    for (const sequence of this.#running.items) {
      if (draft.tokens === this.limits.tokens) return
      const { remaining, plannable, exhausted } = sequence
      if (remaining === 1 && plannable === 1 && !exhausted && !draft.has(sequence)) draft.add(sequence, 1)
    }
  }

  /** Lets waiting sequences in, and says whether there are as many tokens of prompts as a step takes. */
  #promptsFillStep(): boolean {
    this.#admit(this.limits.tokens)
    let tokens = 0
    for (const { remaining, plannable } of this.#running.items) if (remaining > 1) tokens += plannable
    return tokens >= this.limits.tokens
  }

  /** Lets waiting sequences in while the step has tokens for them that no sequence before them needs. */
  #admit(room: number): void {
    while (this.#running.size < this.limits.sequences) {
      const sequence = this.#waiting.first
      // A token that has not been read stands at the end of what has to be computed again.
      if (sequence === undefined || sequence.pending > 0) return
      if (this.#promptTokensBefore(sequence) >= room || this.#isBeingComputed(sequence)) return
      if (!this.#begin(sequence)) return
    }
  }

  /**
   * Whether a running sequence of the very same prompt, such as another choice of its request, has yet to make pages of it
   * known, which it is cheaper to wait for than to compute again.
   */
  #isBeingComputed({ request: { prompt } }: ScheduledSequence<R>): boolean {
    const pages = Math.floor((prompt.length - 1) / this.cache.pageTokens)
    return this.#running.items.some((other) => other.request.prompt === prompt && other.nodes.length < pages)
  }

  /** Tokens of prompts, or to be computed again, that running sequences which rank before this one would give a step. */
  #promptTokensBefore(sequence: ScheduledSequence<R>): number {
    let tokens = 0
    for (const other of this.#running.items)
      if (other.remaining > 1 && other.priority <= sequence.priority) tokens += other.plannable
    return tokens
  }

  /** Takes the pages for all of a sequence's tokens and lets it run; leaves it alone when there are too few. */
  #begin(sequence: ScheduledSequence<R>): boolean {
    const { cache } = this
    const { known } = sequence
    // The last token has to be computed for what comes after it, found or not.
    const found = cache.match(sequence.run(), Math.floor((known - 1) / cache.pageTokens))
    const pages = found.map(({ page }) => page)
    const missing = pagesOf(known, cache.pageTokens) - pages.length
    if (cache.available < missing + this.#watermark) {
      cache.giveBack(pages)
      return false
    }
    for (let i = 0; i < missing; i++) pages.push(cache.take()!)
    sequence.slot = this.#freeSlots.pop()!
    sequence.pages = pages
    sequence.nodes.push(...found)
    sequence.scheduled = found.length * cache.pageTokens
    this.#waiting.remove(sequence)
    this.#running.add(sequence)
    this.#turns.serve(sequence.turn)
    this.#prefixQueries += known
    this.#prefixHits += sequence.scheduled
    return true
  }

  /** A sequence that runs alone may take every page. */
  get #watermark(): number {
    return this.#running.size === 0 ? 0 : this.limits.watermark
  }

  /** Takes places and pages from sequences of lower priority for the first that waits, if that helps it. */
  #makeRoom(): void {
    const urgent = this.#waiting.first
    if (urgent === undefined || urgent.pending > 0) return
    const lower = this.#running.items.filter(({ priority }) => priority > urgent.priority)
    if (lower.length === 0) return
    const needed = pagesOf(urgent.known, this.cache.pageTokens) + this.limits.watermark
    const gain = (sequence: ScheduledSequence<R>) =>
      sequence.pages.filter((page) => this.cache.referencesOf(page) === 1).length
    let gained = this.cache.available
    for (const sequence of lower) gained += gain(sequence)
    if (gained < needed) return
    while (lower.length > 0 && (this.cache.available < needed || this.#running.size >= this.limits.sequences))
      this.#preempt(lower.pop()!)
  }
}

const clientOf = (request: ScheduleRequest): string => request.client ?? ''

/** A plan that is being made. */
class Draft<R extends ScheduleRequest> {
  readonly #shares: Share<R>[] = []
  readonly #planned = new Set<ScheduledSequence<R>>()
  /** Rows of the previous step by sequence. */
  readonly #previousRows = new Map<ScheduledSequence<R>, number>()
  #rows = 0
  tokens = 0

  constructor(previous: StepPlan<R> | undefined) {
    for (const { sequence, row } of previous?.shares ?? []) this.#previousRows.set(sequence, row)
  }

  has(sequence: ScheduledSequence<R>): boolean {
    return this.#planned.has(sequence)
  }

  /** Plans the next `count` tokens of a sequence. */
  add(sequence: ScheduledSequence<R>, count: number): void {
    const first = sequence.scheduled
    const samples = first + count === sequence.length && !sequence.exhausted
    const { isInPrompt: isPrompt } = sequence
    const previousRow = sequence.pending > 0 ? this.#previousRows.get(sequence)! : -1
    this.#shares.push({
      sequence,
      first,
      count,
      isPrompt,
      begins: !sequence.begun,
      previousRow,
      row: samples ? this.#rows++ : -1,
      draw: sequence.length - sequence.request.prompt.length,
    })
    this.#planned.add(sequence)
    this.tokens += count
    sequence.scheduled += count
    sequence.begun = true
    if (samples) sequence.pending++
  }

  finish(step: number): StepPlan<R> {
    return { step, shares: this.#shares, tokens: this.tokens, rows: this.#rows }
  }
}
