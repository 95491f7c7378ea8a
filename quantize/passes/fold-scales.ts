import type { Mat } from '../compute/compute.ts'
import { type LayerState, type StackName, stacks } from '../layer-state.ts'

/**
 * How many different scales the input of a product can have: columns of o are read from values, which the query heads of
 * a group share.
 */
export function scaleCount({ config, weights }: LayerState, stack: StackName): number {
  return stack === 'o' ? config.kvHeads * config.headDim : weights[stacks[stack][0]].columns
}

/** The scales of all input columns, from as many as `scaleCount` says. */
export function spreadScales(
  { config }: Pick<LayerState, 'config'>,
  stack: StackName,
  scales: Float64Array,
): Float64Array {
  if (stack !== 'o') return scales
  const { heads, kvHeads, headDim } = config
  return Float64Array.from({ length: heads * headDim }, (_, column) => {
    const head = Math.floor(column / headDim)
    return scales[Math.floor((head * kvHeads) / heads) * headDim + (column % headDim)]!
  })
}

/** One number for each scale from one for each column: the greatest of those that share a scale. */
export function gatherColumns(
  { config }: Pick<LayerState, 'config'>,
  stack: StackName,
  columns: ArrayLike<number>,
): Float64Array {
  if (stack !== 'o') return Float64Array.from(columns)
  const { heads, kvHeads, headDim } = config
  const gathered = new Float64Array(kvHeads * headDim).fill(Number.NEGATIVE_INFINITY)
  for (let i = 0; i < columns.length; i++) {
    const at = Math.floor((Math.floor(i / headDim) * kvHeads) / heads) * headDim + (i % headDim)
    gathered[at] = Math.max(gathered[at]!, columns[i]!)
  }
  return gathered
}

/**
 * Divides the input of a product by `scales` (`scaleCount`), in what makes it: the gain of the norm, the rows of v, the
 * rows of up; and multiplies the columns that read it. The layer's function stays.
 */
export async function foldScales(layer: LayerState, stack: StackName, scales: Float64Array): Promise<void> {
  const { compute, weights, biases, norms, statistics } = layer
  const inverse = compute.from(
    scales.map((s) => 1 / s),
    1,
    scales.length,
  )
  const all = spreadScales(layer, stack, scales)
  const columns = compute.from(all, 1, all.length)
  for (const name of stacks[stack]) await compute.scaleColumns(weights[name], columns)
  const divideRows = (m: Mat): Promise<void> =>
    compute.scaleRows(m, compute.reshape(inverse, inverse.columns, 1))
  switch (stack) {
    case 'qkv':
      await compute.scaleColumns(norms.attention, inverse)
      statistics.invalidate('qkv')
      break
    case 'o':
      await divideRows(weights.v)
      if (biases.v) await compute.scaleColumns(biases.v, inverse)
      statistics.invalidate('values', 'o')
      break
    case 'gateUp':
      await compute.scaleColumns(norms.mlp, inverse)
      statistics.invalidate('gateUp')
      break
    case 'down':
      await divideRows(weights.up)
      statistics.invalidate('down')
      break
  }
  for (const mat of [inverse, columns]) mat.free()
}
