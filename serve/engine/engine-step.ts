import type { SlotRequest } from '../sampler.ts'
import type { StepPlan } from '../schedule/plan.ts'
import type { ScheduledSequence } from '../schedule/sequence.ts'
import type { EngineRequest } from './request.ts'

/** A sequence's tokens in a step. */
export interface StepPart {
  /** Token ids; those that have not been read are 0. */
  readonly ids: readonly number[]
  /** Position of the first of them. */
  readonly position: number
  /** Whether they are the prompt's; else they were generated, and are few (`DECODE_QUERIES`). */
  readonly isPrompt: boolean
  /** Pages of the sequence, at least as far as its tokens reach. */
  readonly pages: readonly number[]
  /** Whether a token is sampled after the last of them. */
  readonly samples: boolean
}

/** All that a runner has to know of a step: a plan written out, which can be sent to another process. */
export interface EngineStep {
  readonly parts: readonly StepPart[]
  /** Tokens that the previous step sampled: `count` from its row `row` on become those from `token` on. */
  readonly unread: readonly { readonly row: number; readonly token: number; readonly count: number }[]
  /** Slots that have been given to other sequences. */
  readonly opened: readonly { readonly slot: number; readonly request: SlotRequest }[]
  /** The slot of each row: of each part that samples, in their order. */
  readonly slots: readonly number[]
  /** Tokens that a slot may draw in this step, a bit each, the lowest first; slots without draw any. */
  readonly masks: readonly { readonly slot: number; readonly bits: Uint32Array }[]
}

export function engineStepOf({ shares }: StepPlan<EngineRequest>): EngineStep {
  const unread: { row: number; token: number; count: number }[] = []
  const opened: { slot: number; request: SlotRequest }[] = []
  const slots: number[] = []
  const masks: { slot: number; bits: Uint32Array }[] = []
  let token = 0
  const parts = shares.map(({ sequence, first, count, isPrompt, begins, previousRow, row }): StepPart => {
    if (begins) opened.push({ slot: sequence.slot, request: slotRequest(sequence) })
    if (row >= 0) {
      const { constraint } = sequence.request
      if (constraint) masks.push({ slot: sequence.slot, bits: constraint.mask })
      slots.push(sequence.slot)
    }
    if (previousRow >= 0) {
      const last = unread.at(-1)
      if (last && last.row + last.count === previousRow && last.token + last.count === token) last.count++
      else unread.push({ row: previousRow, token, count: 1 })
    }
    token += count
    const ids = previousRow >= 0 ? [0] : Array.from(sequence.tokens(first, first + count))
    return { ids, position: first, isPrompt, pages: [...sequence.pages], samples: row >= 0 }
  })
  return { parts, unread, opened, slots, masks }
}

function slotRequest(sequence: ScheduledSequence<EngineRequest>): SlotRequest {
  const { sampling, stopIds } = sequence.request
  const prompt = Array.from(sequence.request.prompt)
  return { sampling, prompt, output: Array.from(sequence.tokens(prompt.length)), endIds: stopIds }
}
