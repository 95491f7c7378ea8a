import { z } from 'zod'
import type { Mat } from '../compute/compute.ts'
import { type LayerState, type StackName, stacks } from '../layer-state.ts'
import type { QuantizedFormatName } from '../round-to-nearest.ts'
import { foldScales, gatherColumns, spreadScales } from './fold-scales.ts'
import { definePass } from './pass.ts'
import { squaredError } from './rounding.ts'
import { leastIndex } from './search-scales.ts'

/**
 * Makes the weights of loud channels larger, so that rounding them errs less, and their inputs smaller: channel j by
 * s_j = (mean |x_j|)^r over √(max s · min s), with the r of twenty, from 0, that errs least when weights are rounded. With
 * `byWeights` also s_j = (mean |x_j|)^r / (mean |w_j|)^(1 − r) are among the choices, w being relative to the largest of
 * its group. Products are judged by their own outputs, through the Gram matrix, and with a clip, which belongs to the method
 * and follows in the recipe: what a power is worth depends on it. Columns of o where query heads share values are left
 * alone, unless `shared` lets them have one scale, that of the loudest.
 * Source: AWQ (arXiv 2306.00978), section 3.2.
 */
export const awq = definePass({
  name: 'awq',
  about: 'scales channels by how loud their inputs are, the power searched product by product',
  options: z.strictObject({
    stacks: z.array(z.enum(['qkv', 'o', 'gateUp', 'down'])).default(['qkv', 'o', 'gateUp', 'down']),
    /** Powers tried: 0, 1/steps, …, (steps − 1)/steps. */
    steps: z.int().min(1).max(100).default(20),
    /** Ratios of clip that are tried with each power; one is no clip. */
    ratios: z.int().min(1).max(50).default(10),
    /** What a channel's loudness is: the mean of magnitudes, or the largest. */
    loudness: z.enum(['mean', 'largest']).default('mean'),
    byWeights: z.boolean().default(false),
    shared: z.boolean().default(false),
  }),
  async layer(layer, options, run) {
    const { config, formats, statistics } = layer
    for (const stack of options.stacks as readonly StackName[]) {
      if (formats[stack] === 'w16' || (stack === 'o' && config.heads !== config.kvHeads && !options.shared))
        continue
      const { meanAbs, absMax } = await statistics.columns(stack)
      const loudness = gatherColumns(layer, stack, options.loudness === 'mean' ? meanAbs : absMax)
      const powers = Array.from({ length: options.steps }, (_, k) => k / options.steps)
      const candidates = powers.map((power) => scalesOf(loudness, power))
      if (options.byWeights) {
        const weights = await weightLoudness(layer, stack)
        candidates.push(...powers.map((power) => scalesOf(loudness, power, weights)))
      }
      const ratios = Array.from({ length: options.ratios }, (_, i) => 1 - i / (2 * options.ratios))
      const errors: number[] = []
      for (const scales of candidates) errors.push(await roundingError(layer, stack, scales, ratios))
      const best = leastIndex(errors)
      if (best > 0) await foldScales(layer, stack, candidates[best]!)
      run.record(
        `${stack} power`,
        `${powers[best % powers.length]!}${best < powers.length ? '' : ' by weights'}`,
      )
    }
  },
})

/** The squared error of a product's outputs when its weights are scaled, clipped and rounded. */
async function roundingError(
  layer: LayerState,
  stack: StackName,
  scales: Float64Array,
  ratios: readonly number[],
): Promise<number> {
  const { compute, weights, statistics } = layer
  const format = layer.formats[stack] as QuantizedFormatName
  const row = (values: Float64Array): Mat => compute.from(values, 1, values.length)
  const copyOf = async (src: Mat): Promise<Mat> => {
    const dst = compute.allocate(src.rows, src.columns)
    await compute.copy(dst, src)
    return dst
  }
  const all = spreadScales(layer, stack, scales)
  const [times, over] = [row(all), row(all.map((s) => 1 / s))]
  const gram = await copyOf(await statistics.gram(stack))
  await compute.scaleColumns(gram, over)
  await compute.scaleRows(gram, compute.reshape(over, over.columns, 1))
  let error = 0
  for (const name of stacks[stack]) {
    const w = await copyOf(weights[name])
    await compute.scaleColumns(w, times)
    const rounded = compute.allocate(w.rows, w.columns)
    const clip = await compute.searchClip(w, gram, format, ratios, layer.zeros)
    const grid = await compute.fitGrid(w, format, clip, layer.zeros)
    await compute.snap(rounded, w, grid)
    error += await squaredError(compute, gram, rounded, w)
    for (const mat of [w, rounded, clip, grid]) mat.free()
  }
  for (const mat of [times, over, gram]) mat.free()
  return error
}

const LEAST = 1e-4

/** How large the weights of each channel are on average, in parts of the largest of their rows. */
async function weightLoudness(layer: LayerState, stack: StackName): Promise<Float64Array> {
  const { compute, weights } = layer
  const sums = new Float64Array(weights[stacks[stack][0]].columns)
  for (const name of stacks[stack]) {
    const w = weights[name]
    const turned = compute.allocate(w.columns, w.rows)
    await compute.transpose(turned, w)
    const { absMax } = await compute.columnStats(turned)
    turned.free()
    const copy = compute.allocate(w.rows, w.columns)
    await compute.copy(copy, w)
    const inverse = compute.from(
      absMax.map((most) => 1 / Math.max(most, LEAST)),
      w.rows,
      1,
    )
    await compute.scaleRows(copy, inverse)
    const { meanAbs } = await compute.columnStats(copy)
    for (let c = 0; c < sums.length; c++) sums[c]! += meanAbs[c]! * w.rows
    for (const mat of [copy, inverse]) mat.free()
  }
  return gatherColumns(layer, stack, sums)
}

function scalesOf(loudness: Float64Array, power: number, weights?: Float64Array): Float64Array {
  const over = weights && Math.max(...weights)
  const scales = loudness.map((x, i) => {
    const w = weights ? Math.max(weights[i]! / over!, LEAST) ** (1 - power) : 1
    return Math.max(x ** power / w, LEAST)
  })
  const middle = Math.sqrt(scales.reduce((a, b) => Math.max(a, b)) * scales.reduce((a, b) => Math.min(a, b)))
  return scales.map((s) => s / middle)
}
