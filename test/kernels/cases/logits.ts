import { compareLogits, compareLogitsReference } from '../../../kernels/compare-logits.ts'
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

/** As `logProbsCase`; a divergence is a difference of such sums. The second model's logits are near the first's. */
export function compareLogitsCase({ B, V, seed }: LogitOptions): KernelCase {
  const random = rng(seed)
  const first = Float32Array.from({ length: B * V }, () => Math.round(40 * random.normal()) / 8)
  const second = first.map((value) => value + 3 + Math.round(4 * random.normal()) / 8)
  const targets = Int32Array.from({ length: B }, () => random.integer(0, V - 1))
  const expected = compareLogitsReference(
    Float64Array.from(first),
    Float64Array.from(second),
    [...targets],
    V,
  )
  return {
    name: `compareLogits B=${B} V=${V}`,
    kernel: compareLogits,
    config: { V },
    args: {
      first: { dtype: 'f32', shape: [B, V], data: first },
      second: { dtype: 'f32', shape: [B, V], data: second },
      targets: { dtype: 'i32', shape: [B], data: targets },
      logProb: { dtype: 'f32', shape: [B] },
      divergence: { dtype: 'f32', shape: [B] },
      agrees: { dtype: 'i32', shape: [B] },
    },
    check({ logProb, divergence, agrees }) {
      assertNear(logProb!, expected.logProb, () => 2 ** -14, 1)
      assertNear(divergence!, expected.divergence, () => 2 ** -14, 1)
      assertNear(agrees!, Float64Array.from(expected.agrees), () => 0, 1)
    },
  }
}
