import type { EngineStep } from './engine-step.ts'
import type { ModelBounds } from './request.ts'

/** Log-probabilities of the tokens of a step, by row. */
export interface StepLogProbs {
  /** Of the sampled tokens. */
  readonly chosen: Float32Array
  /** The likeliest tokens, falling, and their log-probabilities: `most` entries a row; id -1 where there are no more. */
  readonly topIds: Int32Array
  readonly top: Float32Array
  readonly most: number
}

/** What a step gave. */
export interface StepResult {
  /** The sampled tokens, by row. */
  readonly ids: ArrayLike<number>
  /** Where a sequence of the step asked for them; rows of others hold nothing of use. */
  readonly logProbs?: StepLogProbs | undefined
}

/** What steps run on: a model on a GPU or the emulator, in this process or another, or one that is made up. */
export interface StepRunner {
  /** What requests may ask of it. */
  readonly bounds: ModelBounds
  /**
   * Enqueues a step behind those that have been submitted. The result is there when the step has run; a step is submitted
   * while the one before it runs. A rejection means that nothing can be run any more.
   */
  submit(step: EngineStep): Promise<StepResult>
  /** Rejects when nothing can be run any more, where that is known before a step is submitted. */
  readonly failure?: Promise<never>
  close(): Promise<void>
}
