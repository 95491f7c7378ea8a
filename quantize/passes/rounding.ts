import type { Grid, Mat } from '../compute/compute.ts'
import { QuantizeError } from '../error.ts'
import { type LayerState, type ProjectionName, type Rounded, stackOf } from '../layer-state.ts'

/** The grid of a matrix: that of its format, and of the ratios that were chosen for it. */
export async function gridOf(layer: LayerState, name: ProjectionName): Promise<Grid> {
  const format = layer.formats[stackOf(name)]
  if (format === 'w16')
    throw new QuantizeError(`${name} of layer ${layer.index} keeps its floats and has no grid`)
  return layer.compute.fitGrid(layer.weights[name], format, layer.ratios[name])
}

/** Puts rounded weights in the place of those that were there. */
export function setRounded(layer: LayerState, name: ProjectionName, rounded: Rounded): void {
  layer.rounded[name]?.values.free()
  layer.rounded[name]?.grid.free()
  layer.rounded[name] = rounded
}

/** The squared error of a product's outputs over the calibration tokens when `values` take the place of its weights. */
export async function outputError(layer: LayerState, name: ProjectionName, values: Mat): Promise<number> {
  const { compute, weights, statistics } = layer
  const gram = await statistics.gram(stackOf(name))
  const change = compute.allocate(values.rows, values.columns)
  const seen = compute.allocate(values.rows, values.columns)
  await compute.copy(change, values)
  await compute.add(change, weights[name], -1)
  await compute.multiply(seen, change, gram)
  const error = await compute.dot(seen, change)
  for (const mat of [change, seen]) mat.free()
  return error
}
