import type { ScheduleRequest } from './request.ts'
import type { FinishReason, ScheduledSequence } from './sequence.ts'

/** A sequence's part of a step: `count` tokens from position `first`, all of the prompt or all generated. */
export interface Share<R extends ScheduleRequest = ScheduleRequest> {
  readonly sequence: ScheduledSequence<R>
  readonly first: number
  readonly count: number
  readonly isPrompt: boolean
  /** Whether the sequence has just been given its slot: nothing that a runner keeps for the slot is its own. */
  readonly begins: boolean
  /**
   * The row of the previous step in which the only token of this share was sampled, when its id has not been read; else
   * -1, and the tokens are `sequence.tokens(first, first + count)`.
   */
  readonly previousRow: number
  /** The row of this step that samples the next token of the sequence; -1 where the share ends before its last token. */
  readonly row: number
  /** How many tokens of the sequence are generated before the one that `row` samples. */
  readonly draw: number
}

/**
 * One step: sequences that decode, one token each, then parts of prompts and of what has to be computed again. What it refers to is valid until the scheduler's
 * next `plan`: a runner reads it at once.
 */
export interface StepPlan<R extends ScheduleRequest = ScheduleRequest> {
  /** Steps count from 0. */
  readonly step: number
  readonly shares: readonly Share<R>[]
  /** Tokens of all shares. */
  readonly tokens: number
  /** Shares that sample, whose `row` counts from 0. */
  readonly rows: number
}

/** A token that a step gave to a request. */
export interface TokenEvent<R extends ScheduleRequest = ScheduleRequest> {
  readonly id: number
  readonly request: R
  readonly token: number
  /** The row that sampled it. */
  readonly row: number
  /** Set with the last token; with `stop` it is a stop token, which is no text. */
  readonly finished: FinishReason | undefined
}
