import { logProbs, logProbsReference } from '../../../kernels/log-probs.ts'
import { keptReference, type SampleSettings, sample } from '../../../kernels/sample.ts'
import { assertNear } from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'
import type { HostArguments, KernelCase } from '../../support/run-kernel.ts'

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
    config: { V },
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

/** The arguments of `sample`: one settings object per row. */
export function sampleArgs(
  logits: Float32Array,
  V: number,
  settings: readonly (SampleSettings & { readonly seed: number; readonly step: number })[],
): HostArguments {
  const B = settings.length
  const column = (name: keyof (typeof settings)[number]) => settings.map((each) => each[name])
  return {
    logits: { dtype: 'f32', shape: [B, V], data: logits },
    temperature: { dtype: 'f32', shape: [B], data: Float32Array.from(column('temperature')) },
    topK: { dtype: 'i32', shape: [B], data: Int32Array.from(column('topK')) },
    topP: { dtype: 'f32', shape: [B], data: Float32Array.from(column('topP')) },
    minP: { dtype: 'f32', shape: [B], data: Float32Array.from(column('minP')) },
    seed: { dtype: 'u32', shape: [B], data: Uint32Array.from(column('seed')) },
    step: { dtype: 'u32', shape: [B], data: Uint32Array.from(column('step')) },
    ids: { dtype: 'i32', shape: [B] },
  }
}

export const greedySettings = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, step: 0 } as const

/** Greedy takes the first of the largest; a row without a finite logit gives 0. Other settings do not matter. */
export function greedyCase({ B, V, seed }: LogitOptions): KernelCase {
  const random = rng(seed)
  const logits = coarseLogits(random, B * V)
  if (B > 2) logits.fill(Number.NEGATIVE_INFINITY, V, 2 * V)
  const settings = Array.from({ length: B }, (_, step) => ({
    ...greedySettings,
    topK: random.integer(0, 5),
    topP: random.uniform(),
    minP: random.uniform(),
    seed: random.integer(0, 1000),
    step,
  }))
  return {
    name: `sample greedy B=${B} V=${V}`,
    kernel: sample,
    config: { V },
    args: sampleArgs(logits, V, settings),
    check({ ids }) {
      for (let row = 0; row < B; row++) {
        const values = logits.subarray(row * V, (row + 1) * V)
        const largest = values.reduce((a, b) => Math.max(a, b))
        if (ids![row] !== values.indexOf(largest))
          throw new Error(`row ${row} gives id ${ids![row]}, expected ${values.indexOf(largest)}`)
      }
    },
  }
}

/**
 * Draws from one row of logits under one setting, with as many seeds as `draws`: every drawn id must be among those that
 * the sorting reference keeps, and the counts must fit their probabilities. The 99.99 % point of χ² with n degrees of
 * freedom is below n + 5.3·√n + 16 for all n.
 */
export function distributionCase(
  name: string,
  settings: SampleSettings,
  { V, draws, seed }: { readonly V: number; readonly draws: number; readonly seed: number },
): KernelCase {
  const random = rng(seed)
  const row = coarseLogits(random, V)
  const logits = new Float32Array(draws * V)
  for (let i = 0; i < draws; i++) logits.set(row, i * V)
  const kept = keptReference(Float64Array.from(row), settings)
  return {
    name: `sample ${name} V=${V}`,
    kernel: sample,
    config: { V },
    args: sampleArgs(
      logits,
      V,
      Array.from({ length: draws }, (_, i) => ({ ...settings, seed: 7 + (i >> 3), step: i & 7 })),
    ),
    check({ ids }) {
      const counts = new Map<number, number>()
      for (const id of ids!) {
        if (!kept.has(id)) throw new Error(`id ${id} was drawn and is not among the ${kept.size} kept`)
        counts.set(id, (counts.get(id) ?? 0) + 1)
      }
      // Ids that are expected fewer than five times are counted together.
      let chi = 0
      let freedom = -1
      let [rareCount, rareExpected] = [0, 0]
      const add = (count: number, expected: number) => {
        chi += (count - expected) ** 2 / expected
        freedom++
      }
      for (const [id, probability] of kept) {
        const count = counts.get(id) ?? 0
        if (count === 0 && probability * draws >= 20)
          throw new Error(`id ${id} is kept with probability ${probability} and was not drawn`)
        if (probability * draws >= 5) add(count, probability * draws)
        else [rareCount, rareExpected] = [rareCount + count, rareExpected + probability * draws]
      }
      if (rareExpected >= 5) add(rareCount, rareExpected)
      const bound = freedom + 5.3 * Math.sqrt(freedom) + 16
      if (chi > bound)
        throw new Error(`chi-square is ${chi} with ${freedom} degrees of freedom, over ${bound}`)
    },
  }
}
