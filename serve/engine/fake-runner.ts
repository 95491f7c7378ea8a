import { setImmediate, setTimeout } from 'node:timers/promises'
import type { EngineStep } from './engine-step.ts'
import { FakeModel, type FakeModelOptions } from './fake-model.ts'
import type { ModelBounds } from './request.ts'
import type { StepResult, StepRunner } from './step-runner.ts'

export interface FakeRunnerOptions extends FakeModelOptions {
  /** Time that a step takes. Default 0. */
  readonly stepMilliseconds?: number
  /** Time that a step takes for each of its tokens. Default 0. */
  readonly tokenMilliseconds?: number
  /** Called before each step; what it throws is how the step fails. */
  readonly onStep?: () => void
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

  async submit(step: EngineStep): Promise<StepResult> {
    const { stepMilliseconds = 0, tokenMilliseconds = 0, onStep } = this.#options
    onStep?.()
    const ids = this.#model.run(step)
    const tokens = step.parts.reduce((sum, part) => sum + part.ids.length, 0)
    const now = performance.now()
    this.#busyUntil = Math.max(now, this.#busyUntil) + stepMilliseconds + tokenMilliseconds * tokens
    if (this.#busyUntil > now) await setTimeout(this.#busyUntil - now)
    else await setImmediate()
    return { ids }
  }

  async close(): Promise<void> {}
}
