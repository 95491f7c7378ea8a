import { blockIdx, exp2, f32, type In, i32, kernel, LOG2E, log2, type Out, threadIdx } from '../dsl/index.ts'
import { blockMaxI32, blockSum } from '../dsl/std/index.ts'
import { eachLogit, largestLogit, logitThreads } from './logits.ts'

export interface CompareLogitsConfig {
  /** Vocabulary. */
  readonly V: number
}

/**
 * For each row of logits of two models, in nats: the log-probability that the second gives to the target; the divergence
 * D(first ‖ second) of the two distributions; and 1 where both hold the same id for the likeliest, the lowest of equals.
 * One CTA per row.
 */
export const compareLogits = kernel(
  import.meta.url,
  { grid: (d) => [d.B!], block: (c: CompareLogitsConfig) => [logitThreads(c.V)] },
  function compareLogits(
    a: {
      first: In<f32, 'B V'>
      second: In<f32, 'B V'>
      targets: In<i32, 'B'>
      logProb: Out<f32, 'B'>
      divergence: Out<f32, 'B'>
      agrees: Out<i32, 'B'>
    },
    c: CompareLogitsConfig,
  ) {
    const first = a.first.row(blockIdx.x)
    const second = a.second.row(blockIdx.x)
    const firstMax = largestLogit(first, c.V)
    const secondMax = largestLogit(second, c.V)
    let mass = f32(0)
    let secondMass = f32(0)
    // Of differences, so that a constant added to all logits of a model cancels before it is rounded.
    let moment = f32(0)
    let likeliest = i32(-c.V)
    let secondLikeliest = i32(-c.V)
    eachLogit(first, c.V, (logit, id) => {
      const other = f32(second.at(id)) - secondMax
      const own = logit - firstMax
      const weight = exp2(own * LOG2E)
      mass += weight
      moment += weight > 0 ? weight * (own - other) : f32(0)
      secondMass += exp2(other * LOG2E)
      if (own === 0) likeliest = Math.max(likeliest, -id)
      if (other === 0) secondLikeliest = Math.max(secondLikeliest, -id)
    })
    const [total, secondTotal] = [blockSum(mass), blockSum(secondMass)]
    const mean = blockSum(moment) / total
    const [choice, secondChoice] = [blockMaxI32(likeliest), blockMaxI32(secondLikeliest)]
    if (threadIdx.x === 0) {
      a.logProb.put(
        f32(second.at(a.targets.at(blockIdx.x))) - secondMax - log2(secondTotal) / LOG2E,
        blockIdx.x,
      )
      a.divergence.put(Math.max(mean + (log2(secondTotal) - log2(total)) / LOG2E, 0), blockIdx.x)
      a.agrees.put(choice === secondChoice ? i32(1) : i32(0), blockIdx.x)
    }
  },
)

/** As the kernel, for rows of `V` logits, in float64. */
export function compareLogitsReference(
  first: Float64Array,
  second: Float64Array,
  targets: readonly number[],
  V: number,
): { logProb: Float64Array; divergence: Float64Array; agrees: Int32Array } {
  const logProb = new Float64Array(targets.length)
  const divergence = new Float64Array(targets.length)
  const agrees = new Int32Array(targets.length)
  targets.forEach((target, row) => {
    const [p, q] = [first, second].map((all) => logSoftmax(all.subarray(row * V, (row + 1) * V)))
    logProb[row] = q![target]!
    divergence[row] = p!.reduce((sum, value, i) => sum + Math.exp(value) * (value - q![i]!), 0)
    const likeliest = (values: Float64Array): number =>
      values.indexOf(values.reduce((a, b) => Math.max(a, b)))
    agrees[row] = likeliest(p!) === likeliest(q!) ? 1 : 0
  })
  return { logProb, divergence, agrees }
}

function logSoftmax(values: Float64Array): Float64Array {
  const max = values.reduce((a, b) => Math.max(a, b))
  const total = Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0))
  return values.map((value) => value - max - total)
}
