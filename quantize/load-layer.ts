import type { Checkpoint } from '../checkpoint/open.ts'
import { widen } from '../checkpoint/tensor.ts'
import { layerProjections, type Projection } from '../models/projections.ts'
import { readTensor } from '../models/weights.ts'
import type { Compute, Mat } from './compute/compute.ts'
import { QuantizeError } from './error.ts'
import type { LayerState, ProjectionName, StackFormat, StackName } from './layer-state.ts'

/** Where the tensors of a layer begin. */
export const layerPrefix = (index: number): string => `model.layers.${index}.`

/** The tensors of a layer's norms below its prefix. */
export const normTensors = {
  attention: 'input_layernorm.weight',
  mlp: 'post_attention_layernorm.weight',
  query: 'self_attn.q_norm.weight',
  key: 'self_attn.k_norm.weight',
} as const

/** The paths of a layer's matrices below its prefix. */
export const projectionPaths: Readonly<Record<ProjectionName, string>> = {
  q: 'self_attn.q_proj',
  k: 'self_attn.k_proj',
  v: 'self_attn.v_proj',
  o: 'self_attn.o_proj',
  gate: 'mlp.gate_proj',
  up: 'mlp.up_proj',
  down: 'mlp.down_proj',
}

export type LoadedLayer = Pick<LayerState, 'weights' | 'biases' | 'norms'>

/** A tensor with the shape that the configuration asks for. Throws `QuantizeError` where it holds what is no number. */
export async function loadMat(
  compute: Compute,
  src: Checkpoint,
  name: string,
  shape: readonly number[],
): Promise<Mat> {
  const tensor = readTensor(src, name, shape)
  const mat = await compute.load(tensor)
  const index = await compute.firstNonFinite(mat)
  if (index === undefined) return mat
  mat.free()
  throw new QuantizeError(
    `tensor ${name} holds ${widen(tensor)[index]} in row ${Math.floor(index / mat.columns)}, ` +
      `column ${index % mat.columns}; the checkpoint is damaged, download it again`,
  )
}

/** The floating-point matrices, biases and norms of a layer. Throws `CheckpointError` or `QuantizeError`. */
export async function loadLayer(compute: Compute, src: Checkpoint, index: number): Promise<LoadedLayer> {
  const { config } = src
  const prefix = layerPrefix(index)
  const weights: Partial<Record<ProjectionName, Mat>> = {}
  const biases: LayerState['biases'] = {}
  const products = layerProjections(config)
  const shapes = new Map<string, readonly number[]>()
  for (const { parts, k } of Object.values(products) as Projection[])
    for (const { path, n } of parts) shapes.set(path, [n, k])
  for (const [name, path] of Object.entries(projectionPaths) as [ProjectionName, string][]) {
    const [n, k] = shapes.get(path)!
    weights[name] = await loadMat(compute, src, `${prefix}${path}.weight`, [n!, k!])
    if (products.qkv.bias && (name === 'q' || name === 'k' || name === 'v'))
      biases[name] = await loadMat(compute, src, `${prefix}${path}.bias`, [n!])
  }
  return {
    weights: weights as Record<ProjectionName, Mat>,
    biases,
    norms: await loadNorms(compute, src, prefix),
  }
}

/** The norms of a layer whose tensors begin with `prefix`. Throws as `loadMat` does. */
export async function loadNorms(
  compute: Compute,
  src: Checkpoint,
  prefix: string,
): Promise<LayerState['norms']> {
  const { hiddenSize, headDim, headNorm } = src.config
  const norm = (name: keyof typeof normTensors, width: number): Promise<Mat> =>
    loadMat(compute, src, prefix + normTensors[name], [width])
  return {
    attention: await norm('attention', hiddenSize),
    mlp: await norm('mlp', hiddenSize),
    ...(headNorm && { query: await norm('query', headDim), key: await norm('key', headDim) }),
  }
}

/** Gives back what belongs to a layer. */
export function freeLayer(
  layer: LoadedLayer & Partial<Pick<LayerState, 'keys' | 'ratios' | 'rounded' | 'statistics'>>,
): void {
  layer.statistics?.invalidate()
  for (const rounded of Object.values(layer.rounded ?? {})) {
    rounded.values.free()
    rounded.grid.free()
  }
  for (const mats of [layer.weights, layer.biases, layer.norms, layer.ratios ?? {}])
    for (const mat of Object.values(mats)) mat.free()
  layer.keys?.mean?.free()
}

/** One format for each product. */
export const formatsOf = (of: (product: StackName) => StackFormat): Record<StackName, StackFormat> => ({
  qkv: of('qkv'),
  o: of('o'),
  gateUp: of('gateUp'),
  down: of('down'),
})
