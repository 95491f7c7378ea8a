import type { StepPlan } from '../schedule/plan.ts'
import type { EngineRequest } from './request.ts'

/** What a step gave. */
export interface StepResult {
  /** The sampled tokens, by row. */
  readonly ids: ArrayLike<number>
}

/** What steps run on: a model on a GPU or the emulator, or one that is made up. */
export interface StepRunner<R extends EngineRequest = EngineRequest> {
  /**
   * Enqueues a step behind those that have been submitted, and reads the plan before it returns. The result is there when
   * the step has run; a step is submitted while the one before it runs. A rejection means that nothing can be run any more.
   */
  submit(plan: StepPlan<R>): Promise<StepResult>
  close(): Promise<void>
}
