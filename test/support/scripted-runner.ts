import type { EngineStep } from '../../serve/engine/engine-step.ts'
import type { ModelBounds } from '../../serve/engine/request.ts'
import type { StepResult, StepRunner } from '../../serve/engine/step-runner.ts'
import type { SlotRequest } from '../../serve/sampler.ts'

/** Gives each request the tokens that a script has for it, with log-probabilities that can be told apart. */
export class ScriptedRunner implements StepRunner {
  readonly bounds: ModelBounds
  readonly #outputOf: (request: SlotRequest) => readonly number[]
  readonly #slots: { readonly output: readonly number[]; steps: number }[] = []

  constructor(vocabSize: number, outputOf: (request: SlotRequest) => readonly number[]) {
    this.bounds = { vocabSize, biases: 512 }
    this.#outputOf = outputOf
  }

  async submit({ opened, slots }: EngineStep): Promise<StepResult> {
    for (const { slot, request } of opened)
      this.#slots[slot] = { output: this.#outputOf(request), steps: request.output?.length ?? 0 }
    const most = 20
    const rows = slots.length
    const ids = new Int32Array(rows)
    const logProbs = {
      chosen: new Float32Array(rows),
      topIds: new Int32Array(rows * most).fill(-1),
      top: new Float32Array(rows * most),
      most,
    }
    for (const [row, slot] of slots.entries()) {
      const { output, steps } = this.#slots[slot]!
      this.#slots[slot]!.steps++
      ids[row] = output[steps % output.length]!
      logProbs.chosen[row] = -0.5 - steps
      for (let i = 0; i < 5; i++) {
        logProbs.topIds[row * most + i] = i === 0 ? ids[row]! : 300 + i
        logProbs.top[row * most + i] = -0.5 - steps - i
      }
    }
    await new Promise((resolve) => setImmediate(resolve))
    return { ids, logProbs }
  }

  async close(): Promise<void> {}
}
