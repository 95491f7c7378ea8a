import { DECODE_QUERIES } from '../../models/step.ts'
import { type PrefixNode, partOfRun, type TokenRun } from './prefix-tree.ts'
import type { ScheduleRequest } from './request.ts'

/** Why a sequence ended: a stop token, or as many tokens as asked for. */
export type FinishReason = 'stop' | 'length'

/** A request on its way. */
export class ScheduledSequence<R extends ScheduleRequest = ScheduleRequest> {
  readonly id: number
  readonly request: R
  readonly priority: number
  /** Its place among requests of the same priority. */
  readonly turn: number
  /** Tokens that have been sampled in steps whose ids have not been read: 0 or 1. */
  pending = 0
  /** Tokens whose keys and values are in the cache once all planned steps have run. */
  scheduled = 0
  pages: number[] = []
  /** Its number among those that run, below the limit of sequences; -1 while it waits. */
  slot = -1
  /** Whether nothing may be sampled for it before it is released. */
  held = false
  /** Whether a step has been planned for it since it was given the slot. */
  begun = false
  /** The prefixes of its first pages, as far as they have been made known. */
  readonly nodes: PrefixNode[] = []
  #tokens: Int32Array
  #known: number

  constructor(id: number, request: R, turn: number) {
    const { prompt, generated = [] } = request
    this.id = id
    this.request = request
    this.priority = request.priority ?? 0
    this.turn = turn
    this.#known = prompt.length + generated.length
    this.#tokens = new Int32Array(prompt.length + Math.max(generated.length, 64))
    this.#tokens.set(prompt)
    this.#tokens.set(generated, prompt.length)
  }

  /** Tokens whose ids are known: the prompt and what was generated. */
  get known(): number {
    return this.#known
  }

  /** Tokens known and sampled. */
  get length(): number {
    return this.#known + this.pending
  }

  /** Tokens that have not been planned. */
  get remaining(): number {
    return this.length - this.scheduled
  }

  /** Whether its next token is one of the prompt. */
  get isInPrompt(): boolean {
    return this.scheduled < this.request.prompt.length
  }

  /**
   * Tokens that the next step may have: those that are left of the prompt, or as many generated ones as decode attention takes
   * at once. The last one has to wait where it is not known what may follow it.
   */
  get plannable(): number {
    const waits = this.held || (this.pending > 0 && this.request.constrained)
    const left = waits ? this.remaining - 1 : this.remaining
    return Math.min(left, this.isInPrompt ? this.request.prompt.length - this.scheduled : DECODE_QUERIES)
  }

  /** Generated tokens whose ids are known. */
  get generated(): number {
    return this.#known - this.request.prompt.length
  }

  /** Whether all tokens that it may generate have been sampled, so that nothing is left to plan. */
  get exhausted(): boolean {
    return this.generated + this.pending >= this.request.maxTokens
  }

  /** Known tokens from position `start` to `end`; valid until the next is appended. */
  tokens(start = 0, end = this.#known): Int32Array {
    return this.#tokens.subarray(start, Math.min(end, this.#known))
  }

  /** The same tokens as a run. */
  run(start = 0, end = this.#known): TokenRun {
    return partOfRun({ ids: this.tokens(), ofPrompt: this.request.prompt.length }, start, end)
  }

  /** Takes a token that was sampled; returns why the sequence is over, if it is. */
  append(id: number): FinishReason | undefined {
    if (this.#known === this.#tokens.length) {
      const larger = new Int32Array(2 * this.#tokens.length)
      larger.set(this.#tokens)
      this.#tokens = larger
    }
    this.#tokens[this.#known++] = id
    const { stopIds, maxTokens } = this.request
    if (stopIds.includes(id)) return 'stop'
    return this.generated >= maxTokens ? 'length' : undefined
  }
}

/** Whether `a` goes before `b`: by priority, then by turn, then by arrival. */
export function compareRank(a: ScheduledSequence, b: ScheduledSequence): number {
  return a.priority - b.priority || a.turn - b.turn || a.id - b.id
}
