import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import type { Model } from '../../models/model.ts'
import type { FinishReason } from '../schedule/sequence.ts'
import { Engine } from './engine.ts'
import { ModelRunner, type ModelRunnerOptions, scheduleLimitsOf } from './model-runner.ts'
import type { EngineRequest } from './request.ts'

/**
 * Starts an engine on a model in this process, without a server. The first failure ends it. Closing it leaves the model to
 * the caller.
 */
export const startOnModel = (model: Model, options: ModelRunnerOptions = {}): Promise<Engine> =>
  Engine.start({
    limits: scheduleLimitsOf(model, { waiting: Number.MAX_SAFE_INTEGER, watermark: 0 }),
    pageTokens: PAGE_TOKENS,
    openRunner: () => ModelRunner.create(model, options),
    failures: 0,
  })

/** What became of a request. */
export interface Completion {
  /** Generated ids, without the stop token. */
  readonly ids: readonly number[]
  readonly finished: FinishReason
}

/**
 * Runs a request to its end. `onToken` gets each id as it comes, and why the request is over with the last; no id with a
 * stop token. Throws `RefusalError` at once for a request that cannot run, and rejects with what kept it from ending.
 */
export function complete(
  engine: Engine,
  request: EngineRequest,
  onToken: (id: number | undefined, finished: FinishReason | undefined) => void = () => {},
): Promise<Completion> {
  const ids: number[] = []
  let reason: FinishReason = 'length'
  let settle: { resolve(completion: Completion): void; reject(error: unknown): void }
  const completion = new Promise<Completion>((resolve, reject) => {
    settle = { resolve, reject }
  })
  engine.add(request, {
    onToken(token, finished) {
      const id = finished === 'stop' ? undefined : token
      if (id !== undefined) ids.push(id)
      if (finished) reason = finished
      onToken(id, finished)
    },
    // What made steps fail is of more use than that they did.
    onEnd: (error) =>
      error ? settle.reject(error.cause ?? error) : settle.resolve({ ids, finished: reason }),
  })
  return completion
}
