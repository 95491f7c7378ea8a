import { logProbs, logProbsReference } from '../../../kernels/log-probs.ts'
import { assertNear } from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'
import type { KernelCase } from '../../support/run-kernel.ts'

/** The kernels that read logits. */
export interface LogitOptions {
  readonly B: number
  readonly V: number
  readonly seed: number
}

/** Logits on a coarse grid, so that ties are frequent, some of them −∞. */
export function coarseLogits(random: Rng, n: number): Float32Array {
  return Float32Array.from({ length: n }, () =>
    random.uniform() < 0.05 ? Number.NEGATIVE_INFINITY : Math.round(8 * random.normal()) / 4,
  )
}

/** f32 sums of V positive terms in chains of at most 2⁸, ex2 and lg2: well within 2⁻¹⁴, on logits of 2⁵ at most. */
export function logProbsCase({ B, V, seed }: LogitOptions): KernelCase {
  const random = rng(seed)
  const logits = Float32Array.from({ length: B * V }, () => 5 * random.normal())
  const targets = Int32Array.from({ length: B }, (_, row) => (row === 0 ? V - 1 : random.integer(0, V - 1)))
  return {
    name: `logProbs B=${B} V=${V}`,
    kernel: logProbs,
    config: { V, dtype: 'f32' },
    args: {
      logits: { dtype: 'f32', shape: [B, V], data: logits },
      targets: { dtype: 'i32', shape: [B], data: targets },
      out: { dtype: 'f32', shape: [B] },
    },
    check({ out }) {
      assertNear(out!, logProbsReference(Float64Array.from(logits), [...targets], V), () => 2 ** -14, 1)
    },
  }
}
