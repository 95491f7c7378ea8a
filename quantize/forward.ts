import type { Mat } from './compute/compute.ts'
import {
  type LayerState,
  type ProjectionName,
  quantizesInput,
  type Site,
  type StackName,
} from './layer-state.ts'

/** What a forward pass needs of a layer, so that variants of one can be run. */
export type ForwardLayer = Pick<
  LayerState,
  | 'compute'
  | 'config'
  | 'index'
  | 'weights'
  | 'biases'
  | 'norms'
  | 'keys'
  | 'kv'
  | 'formats'
  | 'window'
  | 'cosSin'
>

export interface ForwardOptions {
  /** Inputs of products go through their int8 codes, where the formats say so. */
  readonly fakeActivations?: boolean
  /** Keys and values go through the codes of the cache. */
  readonly fakeKv?: boolean
  /**
   * What kernels hand on in 16 bits is rounded to this type, as they do, hidden states included; and what codes of the cache stand
   * for to f16, as attention of prompts multiplies it.
   */
  readonly stored?: 'f16' | 'bf16'
  /** Is shown the activations of each site, which it may neither keep nor change. */
  readonly observe?: (site: Site, x: Mat) => Promise<void>
  /** Nothing is computed beyond this site. */
  readonly last?: Site
}

/** One layer on hidden states x [tokens, hidden size], whole windows, in place; behind the last site x is left as it is by then. */
export async function forwardLayer(x: Mat, layer: ForwardLayer, options: ForwardOptions = {}): Promise<void> {
  const { compute } = layer
  const added = compute.allocate(x.rows, x.columns)
  try {
    if (!(await attentionBlock(added, x, layer, options))) return
    await compute.add(x, added)
    await store(x, layer, options)
    if (!(await mlpBlock(added, x, layer, options))) return
    await compute.add(x, added)
    await store(x, layer, options)
  } finally {
    added.free()
  }
}

/** dst = what attention adds to the hidden states x. Returns false, and leaves dst alone, behind the last site. */
export async function attentionBlock(
  dst: Mat,
  x: Mat,
  layer: ForwardLayer,
  options: ForwardOptions = {},
): Promise<boolean> {
  const { compute, config, norms, biases, cosSin, window } = layer
  const { heads, kvHeads, headDim } = config
  const tokens = x.rows
  const owned: Mat[] = []
  const own = (columns: number): Mat => {
    const mat = compute.allocate(tokens, columns)
    owned.push(mat)
    return mat
  }
  try {
    const normed = own(x.columns)
    await compute.rmsNorm(normed, x, norms.attention, config.normEpsilon)
    if (!(await look('qkv', normed, options))) return false
    await quantizeInput('qkv', normed, layer, options)
    const project = async (name: 'q' | 'k' | 'v'): Promise<Mat> => {
      const y = own(layer.weights[name].rows)
      await product(y, normed, name, layer)
      if (biases[name]) await compute.addRow(y, biases[name])
      await store(y, layer, options)
      return y
    }
    const [q, k, v] = [await project('q'), await project('k'), await project('v')]
    for (const [m, gain] of [
      [q, norms.query],
      [k, norms.key],
    ] as const)
      if (gain) {
        const byHead = compute.reshape(m, (tokens * m.columns) / headDim, headDim)
        await compute.rmsNorm(byHead, byHead, gain, config.normEpsilon)
      }
    await compute.rotary(q, headDim, cosSin)
    await compute.rotary(k, headDim, cosSin)
    for (const [site, m] of [
      ['queries', q],
      ['keys', k],
      ['values', v],
    ] as const)
      if (!(await look(site, m, options))) return false
    await transformKeys(k, layer)
    if (layer.keys.hadamard) await compute.hadamard(q, headDim)
    await store(q, layer, options)
    const attended = own(heads * headDim)
    const sliding = config.windows[layer.index]
    const shape = {
      ...{ heads, kvHeads, headDim, window },
      scale: 1 / Math.sqrt(headDim),
      ...(sliding !== undefined && { sliding }),
    }
    const { bits, clip } = layer.kv
    for (const m of [k, v]) {
      if (bits === 16) await store(m, layer, options)
      else if (options.fakeKv) {
        await compute.fakeQuantizeHeads(m, headDim, bits, clip)
        // What codes stand for is made an f16 before it is multiplied, whatever type activations have.
        if (options.stored) await compute.roundFloats(m, 'f16')
      }
    }
    await compute.attention(attended, q, k, v, shape)
    await store(attended, layer, options)
    if (!(await look('o', attended, options))) return false
    await quantizeInput('o', attended, layer, options)
    await product(dst, attended, 'o', layer)
    return true
  } finally {
    for (const mat of owned) mat.free()
  }
}

/** dst = what the MLP adds to the hidden states x. Returns false, and leaves dst alone, behind the last site. */
export async function mlpBlock(
  dst: Mat,
  x: Mat,
  layer: ForwardLayer,
  options: ForwardOptions = {},
): Promise<boolean> {
  const { compute, config, norms } = layer
  const owned: Mat[] = []
  const own = (columns: number): Mat => {
    const mat = compute.allocate(x.rows, columns)
    owned.push(mat)
    return mat
  }
  try {
    const normed = own(x.columns)
    await compute.rmsNorm(normed, x, norms.mlp, config.normEpsilon)
    if (!(await look('gateUp', normed, options))) return false
    await quantizeInput('gateUp', normed, layer, options)
    const [gate, up] = [own(config.intermediateSize), own(config.intermediateSize)]
    await product(gate, normed, 'gate', layer)
    await product(up, normed, 'up', layer)
    for (const m of [gate, up]) await store(m, layer, options)
    await compute.siluMul(gate, gate, up)
    if (!(await look('down', gate, options))) return false
    await quantizeInput('down', gate, layer, options)
    await product(dst, gate, 'down', layer)
    return true
  } finally {
    for (const mat of owned) mat.free()
  }
}

/** The same layer with rounded weights where there are any. */
export function withRounded(layer: ForwardLayer & Pick<LayerState, 'rounded'>): ForwardLayer {
  const values = Object.entries(layer.rounded).map(([name, rounded]) => [name, rounded.values])
  return { ...layer, weights: { ...layer.weights, ...Object.fromEntries(values) } }
}

/** Whether to go on behind a site. */
async function look(site: Site, x: Mat, { observe, last }: ForwardOptions): Promise<boolean> {
  await observe?.(site, x)
  return site !== last
}

async function quantizeInput(
  stack: StackName,
  x: Mat,
  layer: ForwardLayer,
  options: ForwardOptions,
): Promise<void> {
  if (!quantizesInput(layer.formats[stack])) await store(x, layer, options)
  else if (options.fakeActivations) await layer.compute.fakeQuantizeRows(x)
}

/** What a kernel hands on to the next. */
async function store(x: Mat, { compute }: ForwardLayer, { stored }: ForwardOptions): Promise<void> {
  if (stored) await compute.roundFloats(x, stored)
}

const product = (dst: Mat, x: Mat, name: ProjectionName, { compute, weights }: ForwardLayer): Promise<void> =>
  compute.multiply(dst, x, weights[name], { transposeB: true })

/**
 * What is done to keys before the cache: scores do not see a vector taken off all keys, nor an orthogonal transform of
 * both queries and keys.
 */
export async function transformKeys(
  k: Mat,
  { compute, config, keys }: Pick<ForwardLayer, 'compute' | 'config' | 'keys'>,
): Promise<void> {
  if (keys.mean) await compute.addRow(k, keys.mean, -1)
  if (keys.hadamard) await compute.hadamard(k, config.headDim)
}
