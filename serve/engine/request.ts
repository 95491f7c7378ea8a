import { checkSampling, type Sampling, SamplingError } from '../sampling.ts'
import { RefusalError, type ScheduleRequest } from '../schedule/request.ts'
import type { TokenConstraint } from './constraint.ts'

/** A request as the engine runs it. */
export interface EngineRequest extends ScheduleRequest {
  readonly sampling: Sampling
  /** What its text has to follow; the request is `constrained` then. The engine closes it. */
  readonly constraint?: TokenConstraint
}

/** What a model can take. */
export interface ModelBounds {
  readonly vocabSize: number
  /** Biases of one request, held-back stop tokens included. */
  readonly biases: number
}

/** Throws `RefusalError` for what would fail on the device. */
export function checkEngineRequest(request: EngineRequest, { vocabSize, biases }: ModelBounds): void {
  const { prompt, sampling, stopIds } = request
  const requireKnown = (ids: ArrayLike<number>) => {
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize)
        throw new RefusalError(
          'impossible',
          `token id ${id} is not in the model's vocabulary of ${vocabSize}`,
        )
    }
  }
  requireKnown(prompt)
  // Stop tokens that are held back are written into the tables of the device, too.
  requireKnown(stopIds)
  try {
    checkSampling(sampling, vocabSize)
  } catch (error) {
    throw error instanceof SamplingError ? new RefusalError('impossible', error.message) : error
  }
  const wanted = (sampling.logitBias?.size ?? 0) + (sampling.minTokens ? stopIds.length : 0)
  if (wanted > biases)
    throw new RefusalError(
      'impossible',
      `the request biases ${wanted} tokens, stop tokens included, and there is room for ${biases}; bias fewer`,
    )
}
