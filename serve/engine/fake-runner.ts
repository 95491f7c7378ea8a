import { setImmediate, setTimeout } from 'node:timers/promises'
import type { StepPlan } from '../schedule/plan.ts'
import { FakeModel, type FakeModelOptions } from './fake-model.ts'
import type { EngineRequest, ModelBounds } from './request.ts'
import type { StepResult, StepRunner } from './step-runner.ts'

export interface FakeRunnerOptions extends FakeModelOptions {
  /** Time that a step takes. Default 0. */
  readonly stepMilliseconds?: number
  /** Time that a step takes for each of its tokens. Default 0. */
  readonly tokenMilliseconds?: number
  /** Called before each step; what it throws is how the step fails. */
  readonly onStep?: (step: number) => void
}

/** Runs steps on a made-up model, one after the other, at a speed of choice. */
export class FakeRunner implements StepRunner {
  readonly bounds: ModelBounds
  readonly #options: FakeRunnerOptions
  readonly #model: FakeModel
  /** When the steps submitted so far have run. */
  #busyUntil = 0

  constructor(options: FakeRunnerOptions) {
    this.bounds = { vocabSize: options.vocabSize, biases: 512 }
    this.#options = options
    this.#model = new FakeModel(options)
  }

  async submit(plan: StepPlan<EngineRequest>): Promise<StepResult> {
    const { stepMilliseconds = 0, tokenMilliseconds = 0, onStep } = this.#options
    onStep?.(plan.step)
    const ids = this.#model.run(plan)
    const now = performance.now()
    this.#busyUntil = Math.max(now, this.#busyUntil) + stepMilliseconds + tokenMilliseconds * plan.tokens
    if (this.#busyUntil > now) await setTimeout(this.#busyUntil - now)
    else await setImmediate()
    return { ids }
  }

  async close(): Promise<void> {}
}
