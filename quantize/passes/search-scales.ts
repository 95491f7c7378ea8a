import type { Compute, Mat } from '../compute/compute.ts'
import { type LayerState, quantizesInput, type StackName, stacks } from '../layer-state.ts'
import type { QuantizedFormatName } from '../round-to-nearest.ts'
import { spreadScales } from './fold-scales.ts'

/**
 * The mean squared error of a product's outputs on sampled inputs, relative to that of the outputs, when its input is
 * divided by each of the candidates, its weights multiplied, and both rounded as its format says.
 */
export async function scaleErrors(
  layer: LayerState,
  stack: StackName,
  candidates: readonly Float64Array[],
): Promise<number[]> {
  const { compute, weights, statistics } = layer
  const format = layer.formats[stack]
  const x = await statistics.sample(stack)
  const names = stacks[stack]
  const exact = await Promise.all(
    names.map(async (name) => {
      const y = compute.allocate(x.rows, weights[name].rows)
      await compute.multiply(y, x, weights[name], { transposeB: true })
      return y
    }),
  )
  let energy = 0
  for (const y of exact) energy += await compute.dot(y, y)
  const errors: number[] = []
  for (const candidate of candidates) {
    const scales = spreadScales(layer, stack, candidate)
    const input = await scaled(
      compute,
      x,
      scales.map((s) => 1 / s),
    )
    if (quantizesInput(format)) await compute.fakeQuantizeRows(input)
    let error = 0
    for (const [i, name] of names.entries()) {
      const w = await scaled(compute, weights[name], scales)
      if (format !== 'w16') await round(layer, w, format)
      const y = compute.allocate(x.rows, w.rows)
      await compute.multiply(y, input, w, { transposeB: true })
      await compute.add(y, exact[i]!, -1)
      error += await compute.dot(y, y)
      for (const mat of [w, y]) mat.free()
    }
    input.free()
    errors.push(error / energy)
  }
  for (const y of exact) y.free()
  return errors
}

async function scaled(compute: Compute, src: Mat, scales: Float64Array): Promise<Mat> {
  const dst = compute.allocate(src.rows, src.columns)
  await compute.copy(dst, src)
  const row = compute.from(scales, 1, scales.length)
  await compute.scaleColumns(dst, row)
  row.free()
  return dst
}

async function round({ compute, zeros }: LayerState, w: Mat, format: QuantizedFormatName): Promise<void> {
  const grid = await compute.fitGrid(w, format, undefined, zeros)
  await compute.snap(w, w, grid)
  grid.free()
}

/** The place of the least number; the first where several are. */
export const leastIndex = (values: readonly number[]): number => values.indexOf(Math.min(...values))
