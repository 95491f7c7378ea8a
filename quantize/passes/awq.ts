import { z } from 'zod'
import type { StackName } from '../layer-state.ts'
import { foldScales, gatherColumns } from './fold-scales.ts'
import { definePass } from './pass.ts'
import { leastIndex, scaleErrors } from './search-scales.ts'

/**
 * Makes the weights of loud channels larger, so that rounding them errs less, and their inputs smaller: channel j by
 * s_j = (mean |x_j|)^r over √(max s · min s), with the r of twenty, from 0, that errs least on sampled inputs when weights are
 * rounded. Products are judged by their own outputs. Columns of o where query heads share values are left alone. A clip
 * behind it belongs to the method. Source: AWQ (arXiv 2306.00978), section 3.2.
 */
export const awq = definePass({
  name: 'awq',
  about: 'scales channels by how loud their inputs are, the power searched product by product',
  options: z.strictObject({
    stacks: z.array(z.enum(['qkv', 'o', 'gateUp', 'down'])).default(['qkv', 'o', 'gateUp', 'down']),
    /** Powers tried: 0, 1/steps, …, (steps − 1)/steps. */
    steps: z.int().min(1).max(100).default(20),
  }),
  async layer(layer, options, run) {
    const shared = layer.config.heads !== layer.config.kvHeads
    for (const stack of options.stacks as readonly StackName[]) {
      if (stack === 'o' && shared) continue
      const { meanAbs } = await layer.statistics.columns(stack)
      const loudness = gatherColumns(layer, stack, meanAbs)
      const powers = Array.from({ length: options.steps }, (_, k) => k / options.steps)
      const candidates = powers.map((power) => scalesOf(loudness, power))
      const best = leastIndex(await scaleErrors(layer, stack, candidates))
      if (best > 0) await foldScales(layer, stack, candidates[best]!)
      run.record(`${stack} power`, powers[best]!)
    }
  },
})

const LEAST = 1e-4

function scalesOf(loudness: Float64Array, power: number): Float64Array {
  const scales = loudness.map((x) => Math.max(x ** power, LEAST))
  const middle = Math.sqrt(scales.reduce((a, b) => Math.max(a, b)) * scales.reduce((a, b) => Math.min(a, b)))
  return scales.map((s) => s / middle)
}
