import type { EngineRequest, ModelBounds } from '../../serve/engine/request.ts'
import type { StepResult, StepRunner } from '../../serve/engine/step-runner.ts'
import type { StepPlan } from '../../serve/schedule/plan.ts'

/** Gives each request the tokens that a script has for it, with log-probabilities that can be told apart. */
export class ScriptedRunner implements StepRunner {
  readonly bounds: ModelBounds
  readonly #outputOf: (request: EngineRequest) => readonly number[]

  constructor(vocabSize: number, outputOf: (request: EngineRequest) => readonly number[]) {
    this.bounds = { vocabSize, biases: 512 }
    this.#outputOf = outputOf
  }

  async submit(plan: StepPlan<EngineRequest>): Promise<StepResult> {
    const ids = new Int32Array(plan.rows)
    const most = 20
    const logProbs = {
      chosen: new Float32Array(plan.rows),
      topIds: new Int32Array(plan.rows * most).fill(-1),
      top: new Float32Array(plan.rows * most),
      most,
    }
    for (const { sequence, row, draw } of plan.shares) {
      if (row < 0) continue
      const output = this.#outputOf(sequence.request)
      ids[row] = output[draw % output.length]!
      logProbs.chosen[row] = -0.5 - draw
      for (let i = 0; i < 5; i++) {
        logProbs.topIds[row * most + i] = i === 0 ? ids[row]! : 300 + i
        logProbs.top[row * most + i] = -0.5 - draw - i
      }
    }
    await new Promise((resolve) => setImmediate(resolve))
    return { ids, logProbs }
  }

  async close(): Promise<void> {}
}
