import type { Compute, Grid, Mat } from '../compute/compute.ts'
import { QuantizeError } from '../error.ts'
import { type LayerState, type ProjectionName, type Rounded, stackOf } from '../layer-state.ts'

/** The grid of a matrix, or of `values` in its place: that of its format, and of the ratios that were chosen for it. */
export async function gridOf(layer: LayerState, name: ProjectionName, values?: Mat): Promise<Grid> {
  const format = layer.formats[stackOf(name)]
  if (format === 'w16')
    throw new QuantizeError(`${name} of layer ${layer.index} keeps its floats and has no grid`)
  return layer.compute.fitGrid(values ?? layer.weights[name], format, layer.ratios[name], layer.zeros)
}

/** Puts rounded weights in the place of those that were there. */
export function setRounded(layer: LayerState, name: ProjectionName, rounded: Rounded): void {
  layer.rounded[name]?.values.free()
  layer.rounded[name]?.grid.free()
  layer.rounded[name] = rounded
}

/** The squared error of a product's outputs over the calibration tokens when `values` take the place of its weights. */
export const outputError = async (layer: LayerState, name: ProjectionName, values: Mat): Promise<number> =>
  squaredError(layer.compute, await layer.statistics.gram(stackOf(name)), values, layer.weights[name])

/** The squared difference of the outputs of two matrices on inputs with that Gram matrix. */
export async function squaredError(compute: Compute, gram: Mat, a: Mat, b: Mat): Promise<number> {
  const [change, seen] = [compute.allocate(a.rows, a.columns), compute.allocate(a.rows, a.columns)]
  await compute.copy(change, a)
  await compute.add(change, b, -1)
  await compute.multiply(seen, change, gram)
  const error = await compute.dot(seen, change)
  for (const mat of [change, seen]) mat.free()
  return error
}
