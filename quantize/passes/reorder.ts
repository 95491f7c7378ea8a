import { z } from 'zod'
import type { Mat } from '../compute/compute.ts'
import type { LayerState } from '../layer-state.ts'
import { gatherColumns, spreadScales } from './fold-scales.ts'
import { definePass } from './pass.ts'

/**
 * Sorts the input columns of o and of down by the greatest magnitude of their inputs, so that weights that matter alike
 * share a group: columns of o within each key/value head, with the rows of v; columns of down with the rows of gate and up.
 * Costs nothing at run time. Source: QServe (arXiv 2405.04532), section 4.3.3.
 */
export const reorder = definePass({
  name: 'reorder',
  about: 'sorts the inputs of o and down by magnitude, so that like channels share a group',
  options: z.strictObject({
    stacks: z.array(z.enum(['o', 'down'])).default(['o', 'down']),
  }),
  async layer(layer, { stacks }) {
    for (const stack of stacks) {
      const { absMax } = await layer.statistics.columns(stack)
      if (stack === 'o') await reorderValues(layer, absMax)
      else await reorderMlp(layer, absMax)
    }
  },
})

async function reorderValues(layer: LayerState, absMax: Float32Array): Promise<void> {
  const { weights, biases, config, statistics } = layer
  const { kvHeads, headDim } = config
  const greatest = gatherColumns(layer, 'o', absMax)
  const order = Int32Array.from(
    Array.from({ length: kvHeads }, (_, head) =>
      [...ascending(greatest.subarray(head * headDim, (head + 1) * headDim))].map((i) => head * headDim + i),
    ).flat(),
  )
  /** Where each column of o comes from: its own head, the place within the head as its values' place. */
  const within = spreadScales(
    layer,
    'o',
    Float64Array.from(order, (i) => i % headDim),
  )
  const columns = Int32Array.from(within, (place, i) => i - (i % headDim) + place)
  weights.v = await permuted(layer, weights.v, order, 'permuteRows')
  if (biases.v) biases.v = await permuted(layer, biases.v, order, 'permuteColumns')
  weights.o = await permuted(layer, weights.o, columns, 'permuteColumns')
  statistics.invalidate('values', 'o')
}

async function reorderMlp(layer: LayerState, absMax: Float32Array): Promise<void> {
  const { weights, statistics } = layer
  const order = ascending(absMax)
  weights.gate = await permuted(layer, weights.gate, order, 'permuteRows')
  weights.up = await permuted(layer, weights.up, order, 'permuteRows')
  weights.down = await permuted(layer, weights.down, order, 'permuteColumns')
  statistics.invalidate('down')
}

/** Places of the values from the least to the greatest, equal ones in their order. */
const ascending = (values: Float32Array | Float64Array): Int32Array =>
  Int32Array.from(values.keys()).sort((a, b) => values[a]! - values[b]! || a - b)

/** A matrix in another order in place of one that is freed. */
async function permuted(
  { compute }: LayerState,
  src: Mat,
  order: Int32Array,
  how: 'permuteRows' | 'permuteColumns',
): Promise<Mat> {
  const dst = compute.allocate(src.rows, src.columns)
  await compute[how](dst, src, order)
  src.free()
  return dst
}
