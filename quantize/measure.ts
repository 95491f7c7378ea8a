import type { Mat } from './compute/compute.ts'
import { type ForwardLayer, forwardLayer, transformKeys } from './forward.ts'
import {
  type LayerState,
  type ProjectionName,
  projectionNames,
  quantizesInput,
  type Site,
  type StackName,
  stackOf,
  stacks,
} from './layer-state.ts'

/** What quantization does to a layer as it stands, on some tokens. Errors are of squares, relative to the exact values. */
export interface LayerError {
  /** Of the outputs of each product, input and weights quantized, everything before it exact. */
  readonly products: Readonly<Record<ProjectionName, number>>
  /** Of keys and values in the cache; missing where the cache keeps 16 bits. */
  readonly keys?: number
  readonly values?: number
  /** Of what the layer adds to the hidden states, everything quantized. */
  readonly output: number
}

/** Channels that stand out among the inputs of a product. */
export interface Outliers {
  readonly site: Site
  /** How many have a largest magnitude above `outlierFactor` times the median of all. */
  readonly count: number
  /** The channel that stands out most, and how many times the median its largest magnitude is. */
  readonly channel: number
  readonly factor: number
}

export const outlierFactor = 8

/**
 * Measures a layer in floats against itself quantized, on hidden states x [tokens, hidden size], whole windows, which stay
 * as they are. Weights that no pass has rounded yet are rounded to nearest.
 */
export async function measureLayer(
  layer: LayerState,
  x: Mat,
): Promise<{ readonly error: LayerError; readonly outliers: readonly Outliers[] }> {
  const { compute } = layer
  const snapped = await snappedWeights(layer)
  const quantized: ForwardLayer = { ...layer, weights: snapped.weights }
  const products: Partial<Record<ProjectionName, number>> = {}
  const cache: { keys?: number; values?: number } = {}
  const outliers: Outliers[] = []
  const observe = async (site: Site, m: Mat): Promise<void> => {
    if (site in stacks) {
      outliers.push(outliersOf(site, (await compute.columnStats(m)).absMax))
      Object.assign(products, await productErrors(site as StackName, m, layer, quantized))
    } else if (site !== 'queries' && layer.kv.bits !== 16)
      cache[site as 'keys' | 'values'] = await cacheError(site, m, layer)
  }
  const exact = compute.allocate(x.rows, x.columns)
  const rounded = compute.allocate(x.rows, x.columns)
  await compute.copy(exact, x)
  await compute.copy(rounded, x)
  await forwardLayer(exact, layer, { observe })
  await forwardLayer(rounded, quantized, { fakeActivations: true, fakeKv: true })
  await compute.add(rounded, exact, -1)
  await compute.add(exact, x, -1)
  const output = (await compute.dot(rounded, rounded)) / (await compute.dot(exact, exact))
  for (const mat of [exact, rounded, ...snapped.owned]) mat.free()
  return {
    error: { products: products as Record<ProjectionName, number>, ...cache, output },
    outliers,
  }
}

/** The rounded weights of a layer: those of its passes, or the nearest. */
async function snappedWeights(
  layer: LayerState,
): Promise<{ readonly weights: Record<ProjectionName, Mat>; readonly owned: readonly Mat[] }> {
  const { compute, rounded, formats, ratios } = layer
  const weights = { ...layer.weights }
  const owned: Mat[] = []
  for (const name of projectionNames) {
    const format = formats[stackOf(name)]
    if (format === 'w16') continue
    const done = rounded[name]
    if (done) {
      weights[name] = done.values
      continue
    }
    const { rows, columns } = layer.weights[name]
    const values = compute.allocate(rows, columns)
    const grid = await compute.fitGrid(layer.weights[name], format, ratios[name], layer.zeros)
    await compute.snap(values, layer.weights[name], grid)
    grid.free()
    owned.push(values)
    weights[name] = values
  }
  return { weights, owned }
}

async function productErrors(
  stack: StackName,
  x: Mat,
  layer: ForwardLayer,
  quantized: ForwardLayer,
): Promise<Partial<Record<ProjectionName, number>>> {
  const { compute } = layer
  const input = compute.allocate(x.rows, x.columns)
  await compute.copy(input, x)
  if (quantizesInput(layer.formats[stack])) await compute.fakeQuantizeRows(input)
  const errors: Partial<Record<ProjectionName, number>> = {}
  for (const name of stacks[stack]) {
    const n = layer.weights[name].rows
    const [exact, rounded] = [compute.allocate(x.rows, n), compute.allocate(x.rows, n)]
    await compute.multiply(exact, x, layer.weights[name], { transposeB: true })
    await compute.multiply(rounded, input, quantized.weights[name], { transposeB: true })
    await compute.add(rounded, exact, -1)
    errors[name] = (await compute.dot(rounded, rounded)) / (await compute.dot(exact, exact))
    for (const mat of [exact, rounded]) mat.free()
  }
  input.free()
  return errors
}

/** Relative to the values before centring, so that what centring saves is seen. */
async function cacheError(site: Site, m: Mat, layer: ForwardLayer): Promise<number> {
  const { compute, config, kv } = layer
  const exact = compute.allocate(m.rows, m.columns)
  const coded = compute.allocate(m.rows, m.columns)
  await compute.copy(exact, m)
  if (site === 'keys') await transformKeys(exact, layer)
  await compute.copy(coded, exact)
  await compute.fakeQuantizeHeads(coded, config.headDim, kv.bits as 4 | 8, kv.clip)
  await compute.add(coded, exact, -1)
  const error = (await compute.dot(coded, coded)) / (await compute.dot(m, m))
  for (const mat of [exact, coded]) mat.free()
  return error
}

function outliersOf(site: Site, absMax: Float32Array): Outliers {
  const median = Math.max(absMax.toSorted()[absMax.length >> 1]!, 1e-12)
  let channel = 0
  let count = 0
  absMax.forEach((value, c) => {
    if (value > absMax[channel]!) channel = c
    if (value > outlierFactor * median) count++
  })
  return { site, count, channel, factor: absMax[channel]! / median }
}
