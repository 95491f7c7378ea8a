import { uniform } from '../../models/uniform.ts'
import type { InferenceEngine } from '../../serve/engine/inference-engine.ts'
import type { EngineRequest } from '../../serve/engine/request.ts'
import { greedy } from '../../serve/sampling.ts'

/** Requests that come at once, each of so many random ids, and generate so many tokens whatever these are. */
export interface Job {
  readonly requests: number
  readonly prompt: number
  readonly output: number
}

export interface JobTimes {
  readonly seconds: number
  /** Seconds until the last request had its first token. */
  readonly promptSeconds: number
  readonly steps: number
}

export function jobRequests({ requests, prompt, output }: Job, vocabSize: number, seed = 1): EngineRequest[] {
  const random = uniform(seed)
  return Array.from({ length: requests }, () => ({
    prompt: Int32Array.from({ length: prompt }, () => Math.floor(vocabSize * random())),
    maxTokens: output,
    stopIds: [],
    sampling: greedy,
  }))
}

/** Runs requests that all come at once. Rejects with the error of the first that fails. */
export async function runRequests(
  engine: InferenceEngine,
  requests: readonly EngineRequest[],
): Promise<JobTimes> {
  const { steps } = engine.stats
  const start = performance.now()
  let last = start
  await Promise.all(
    requests.map(
      (request) =>
        new Promise<void>((resolve, reject) => {
          let begun = false
          engine.add(request, {
            onToken() {
              if (begun) return
              begun = true
              last = performance.now()
            },
            onEnd: (error) => (error ? reject(error) : resolve()),
          })
        }),
    ),
  )
  return {
    seconds: (performance.now() - start) / 1000,
    promptSeconds: (last - start) / 1000,
    steps: engine.stats.steps - steps,
  }
}
