import {
  blockIdx,
  type Elem,
  exp2,
  f32,
  type In,
  type i32,
  kernel,
  LOG2E,
  log2,
  type Out,
  threadIdx,
} from '../dsl/index.ts'
import { blockSum } from '../dsl/std/index.ts'
import { eachLogit, largestLogit, logitThreads } from './logits.ts'
import type { LogitType } from './sampling/groups.ts'

export interface LogProbsConfig {
  /** Vocabulary. */
  readonly V: number
  readonly dtype: LogitType
}

/** The natural logarithm of the probability that each row of logits gives to its target id. One CTA per row. */
export const logProbs = kernel(
  import.meta.url,
  { grid: (d) => [d.B!], block: (c: LogProbsConfig) => [logitThreads(c.V)] },
  function logProbs(
    a: { logits: In<Elem<'dtype'>, 'B V'>; targets: In<i32, 'B'>; out: Out<f32, 'B'> },
    c: LogProbsConfig,
  ) {
    const logits = a.logits.row(blockIdx.x)
    const max = largestLogit(logits, c.V)
    let mass = f32(0)
    eachLogit(logits, c.V, (logit) => {
      mass += exp2((logit - max) * LOG2E)
    })
    const total = blockSum(mass)
    if (threadIdx.x === 0) {
      a.out.put(f32(logits.at(a.targets.at(blockIdx.x))) - max - log2(total) / LOG2E, blockIdx.x)
    }
  },
)

/** As the kernel, for rows of `V` logits, in float64. */
export function logProbsReference(logits: Float64Array, targets: readonly number[], V: number): Float64Array {
  return Float64Array.from(targets, (target, row) => {
    const values = logits.subarray(row * V, (row + 1) * V)
    const max = values.reduce((a, b) => Math.max(a, b))
    const total = values.reduce((sum, value) => sum + Math.exp(value - max), 0)
    return values[target]! - max - Math.log(total)
  })
}
