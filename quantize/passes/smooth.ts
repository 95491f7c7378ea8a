import { z } from 'zod'
import { type LayerState, type StackName, stacks } from '../layer-state.ts'
import { foldScales, gatherColumns, scaleCount } from './fold-scales.ts'
import { definePass } from './pass.ts'
import { leastIndex, scaleErrors } from './search-scales.ts'

const stackName = z.enum(['qkv', 'o', 'gateUp', 'down'])

/**
 * Moves part of the range of activations into the weights that read them: channel j of an input is divided by
 * max|x_j|^α / max|w_j|^β, in the norm or the matrix before it. The strength α is one number, or, product by product, the one
 * of a grid that errs least on sampled inputs with weights and activations rounded; no smoothing is among the choices.
 * Source: SmoothQuant (arXiv 2211.10438), section 4; QServe's search for its products.
 */
export const smooth = definePass({
  name: 'smooth',
  about: 'moves the range of activations into weights; strengths are searched, product by product',
  options: z.strictObject({
    stacks: z.array(stackName).default(['qkv', 'gateUp']),
    /** α from 0 to 1; or the search. */
    strength: z.union([z.number().min(0).max(1), z.literal('search')]).default('search'),
    /** β; 1 − α where it is left out. */
    weightStrength: z.number().min(0).max(1).optional(),
  }),
  async layer(layer, options, run) {
    for (const stack of options.stacks) {
      const strengths = options.strength === 'search' ? searched : [options.strength]
      const ranges = await rangesOf(layer, stack)
      const candidates = strengths.map((a) => scalesOf(ranges, a, options.weightStrength ?? 1 - a))
      const none = new Float64Array(scaleCount(layer, stack)).fill(1)
      if (options.strength !== 'search') await foldScales(layer, stack, candidates[0]!)
      else {
        const best = leastIndex(await scaleErrors(layer, stack, [none, ...candidates])) - 1
        if (best >= 0) await foldScales(layer, stack, candidates[best]!)
        run.record(`${stack} strength`, best < 0 ? 'none' : strengths[best]!)
      }
    }
  },
})

const searched = Array.from({ length: 19 }, (_, i) => (i + 1) / 20)

interface Ranges {
  readonly inputs: Float64Array
  readonly weights: Float64Array
}

async function rangesOf(layer: LayerState, stack: StackName): Promise<Ranges> {
  const { compute, statistics } = layer
  const inputs = gatherColumns(layer, stack, (await statistics.columns(stack)).absMax)
  let weights = new Float64Array(inputs.length)
  for (const name of stacks[stack]) {
    const { absMax } = await compute.columnStats(layer.weights[name])
    const own = gatherColumns(layer, stack, absMax)
    weights = weights.map((value, i) => Math.max(value, own[i]!))
  }
  return { inputs, weights }
}

const LEAST = 1e-5

/** Channels without inputs, or without weights, keep their scale. */
const scalesOf = ({ inputs, weights }: Ranges, alpha: number, beta: number): Float64Array =>
  inputs.map((x, i) => {
    const w = weights[i]!
    return x === 0 || w === 0 ? 1 : Math.max(Math.max(x, LEAST) ** alpha / Math.max(w, LEAST) ** beta, LEAST)
  })
