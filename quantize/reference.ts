import type { Checkpoint } from '../checkpoint/open.ts'
import type { QuantizedMatrix } from '../checkpoint/quantized-matrix.ts'
import { widen } from '../checkpoint/tensor.ts'
import { type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import { headProjection, layerProjections, type Projection } from '../models/projections.ts'
import {
  type ActivationType,
  headFormatOf,
  type ProjectionFormat,
  productFormatOf,
  quantizedTensors,
  readTensor,
  takesCodes,
} from '../models/weights.ts'
import type { Compute, Mat } from './compute/compute.ts'
import { loadHead } from './ends.ts'
import type { ForwardLayer } from './forward.ts'
import { floatLayer, windowAngles } from './hidden-states.ts'
import { forwardAll } from './layer-run.ts'
import type { ProjectionName, StackFormat, StackName } from './layer-state.ts'
import { stacks } from './layer-state.ts'
import { freeLayer, layerPrefix, loadLayer, loadMat, loadNorms } from './load-layer.ts'
import { dequantize, type QuantizedFormatName } from './round-to-nearest.ts'

/** The codes and scales of a stored product, of a layer or of the head, by its path. */
export function readQuantized(
  src: Checkpoint,
  path: string,
  { n, k }: Pick<Projection, 'n' | 'k'>,
  format: QuantizedFormatName,
): QuantizedMatrix {
  // A copy each, because typed arrays want aligned memory.
  const bytes = (name: keyof typeof quantizedTensors): ArrayBuffer =>
    new Uint8Array(src.tensors.read(`${path}.${quantizedTensors[name]}`).bytes).buffer as ArrayBuffer
  const packing: WeightFormat = weightFormats[format]
  return {
    rows: n,
    columns: k,
    ...packing.unpack(new Uint32Array(bytes('w')), n, k),
    ...(takesCodes(format) && { scale: new Uint16Array(bytes('scale')) }),
    ...(format === 'w4a8' && { zero: new Uint8Array(bytes('zero')) }),
  } as QuantizedMatrix
}

/** A layer of a checkpoint, quantized or not, with the weights that its codes stand for; floats rounded to `stored`. */
export async function loadReferenceLayer(
  compute: Compute,
  src: Checkpoint,
  index: number,
  angles: Pick<ForwardLayer, 'window' | 'cosSin'>,
  stored?: ActivationType,
): Promise<ForwardLayer> {
  const { config, format } = src
  const prefix = layerPrefix(index)
  if (format.weights.bits >= 16) {
    const loaded = await loadLayer(compute, src, index)
    const { weights, biases, norms } = loaded
    for (const mat of [weights, biases, norms].flatMap((mats) => Object.values<Mat | undefined>(mats)))
      if (mat && stored) await compute.roundFloats(mat, stored)
    return {
      ...floatLayer(compute, src, index, loaded, angles),
      ...(await loadCacheNotes(compute, src, prefix)),
    }
  }
  const weights: Partial<Record<ProjectionName, Mat>> = {}
  const biases: ForwardLayer['biases'] = {}
  const formats: Partial<Record<StackName, StackFormat>> = {}
  for (const [product, projection] of Object.entries(layerProjections(config)) as [StackName, Projection][]) {
    const path = prefix + projection.path
    const stored = productFormatOf(src, path) as QuantizedFormatName
    formats[product] = stored
    const values = dequantize(readQuantized(src, path, projection, stored), stored)
    const bias = projection.bias && widen(readTensor(src, `${path}.${quantizedTensors.bias}`, [projection.n]))
    let row = 0
    for (const [i, name] of stacks[product].entries()) {
      const { n } = projection.parts[i]!
      const part = values.subarray(row * projection.k, (row + n) * projection.k)
      weights[name] = compute.from(part, n, projection.k)
      if (bias) biases[name as 'q' | 'k' | 'v'] = compute.from(bias.subarray(row, row + n), 1, n)
      row += n
    }
  }
  return {
    ...{ compute, config, index, ...angles, biases },
    weights: weights as Record<ProjectionName, Mat>,
    formats: formats as Record<StackName, StackFormat>,
    norms: await loadNorms(compute, src, prefix),
    ...(await loadCacheNotes(compute, src, prefix)),
  }
}

/** How a layer's keys and values go into the cache. */
async function loadCacheNotes(
  compute: Compute,
  src: Checkpoint,
  prefix: string,
): Promise<Pick<ForwardLayer, 'keys' | 'kv'>> {
  const { bits, clip, keyHadamard } = src.format.kv
  return {
    keys: { hadamard: keyHadamard, ...(await keyMean(compute, src, prefix)) },
    kv: { bits, ...(clip !== undefined && { clip }) },
  }
}

/** Checkpoints have the mean behind the Hadamard transform, which is its own inverse. */
async function keyMean(compute: Compute, src: Checkpoint, prefix: string): Promise<{ readonly mean?: Mat }> {
  const { kvHeads, headDim } = src.config
  if (!src.format.kv.keyMean) return {}
  const loaded = await loadMat(compute, src, `${prefix}self_attn.key_mean`, [kvHeads, headDim])
  if (src.format.kv.keyHadamard) await compute.hadamard(loaded, headDim)
  const mean = compute.allocate(1, kvHeads * headDim)
  await compute.copy(mean, compute.reshape(loaded, 1, kvHeads * headDim))
  loaded.free()
  return { mean }
}

/** What behind the layers turns hidden states into logits. */
interface ReferenceHead {
  readonly norm: Mat
  readonly weight: Mat
  readonly format: ProjectionFormat
}

async function loadReferenceHead(
  compute: Compute,
  src: Checkpoint,
  { stored }: ReferenceOptions,
): Promise<ReferenceHead> {
  const format = headFormatOf(src)
  if (format === 'w16') {
    const head = await loadHead(compute, src)
    if (stored) for (const mat of [head.norm, head.weight]) await compute.roundFloats(mat, stored)
    return { format, ...head }
  }
  const projection = headProjection(src.config)
  const codes = readQuantized(src, projection.path, projection, format)
  return {
    format,
    norm: await loadMat(compute, src, 'model.norm.weight', [projection.k]),
    weight: compute.from(dequantize(codes, format), projection.n, projection.k),
  }
}

export interface ReferenceOptions {
  /** The type that the engine stores floats in (`activationTypeOf`): activations are rounded to it where the engine does. */
  readonly stored?: ActivationType
  /** Called before each layer. */
  readonly onProgress?: (layer: number, layers: number) => void
}

/**
 * The hidden states behind the last layer of a checkpoint, [ids, hidden size], by the quantizer's own forward pass: weights
 * as their codes say, activations and cache through their formats, and nothing else rounded but what `stored` says. The ids
 * are whole windows.
 */
async function referenceStates(
  compute: Compute,
  src: Checkpoint,
  ids: Int32Array,
  window: number,
  { stored, onProgress }: ReferenceOptions,
): Promise<Mat> {
  const { config } = src
  const table = await loadMat(compute, src, 'model.embed_tokens.weight', [
    config.vocabSize,
    config.hiddenSize,
  ])
  const states = compute.allocate(ids.length, config.hiddenSize)
  await compute.embed(states, table, ids)
  table.free()
  if (stored) await compute.roundFloats(states, stored)
  const angles = { window, cosSin: windowAngles(compute, src, window) }
  for (let index = 0; index < config.layers; index++) {
    onProgress?.(index, config.layers)
    const layer = await loadReferenceLayer(compute, src, index, angles, stored)
    await forwardAll(states, layer, { fakeActivations: true, fakeKv: true, ...(stored && { stored }) })
    freeLayer(layer)
  }
  angles.cosSin.free()
  return states
}

/** The logits of hidden states, which are normalized in place. */
async function headLogits(
  compute: Compute,
  { config }: Checkpoint,
  { norm, weight, format }: ReferenceHead,
  states: Mat,
  { stored }: ReferenceOptions,
): Promise<Mat> {
  await compute.rmsNorm(states, states, norm, config.normEpsilon)
  if (format !== 'w16' && takesCodes(format)) await compute.fakeQuantizeRows(states)
  else if (stored) await compute.roundFloats(states, stored)
  const logits = compute.allocate(states.rows, config.vocabSize)
  await compute.multiply(logits, states, weight, { transposeB: true })
  return logits
}

/**
 * The logits that a checkpoint stands for, [ids, vocabulary], for whole windows of ids. What kernels give differs by the
 * rounding of activations to 16 bits, and by the codes that it turns; with `stored`, by the order of sums, by attention's
 * probabilities in f16, and by the fewer codes that those turn.
 */
export async function referenceLogits(
  compute: Compute,
  src: Checkpoint,
  ids: Int32Array,
  window: number,
  options: ReferenceOptions = {},
): Promise<Mat> {
  const states = await referenceStates(compute, src, ids, window, options)
  const head = await loadReferenceHead(compute, src, options)
  const logits = await headLogits(compute, src, head, states, options)
  for (const mat of [states, head.norm, head.weight]) mat.free()
  return logits
}

/** Rows of logits that are in memory at once. */
const logitRows = 1024

/**
 * Perplexity by the logits of `referenceLogits`: every token but the first is scored once, in windows that share no context. A
 * rest that fills no window is left out.
 */
export async function referencePerplexity(
  compute: Compute,
  src: Checkpoint,
  ids: ArrayLike<number>,
  window: number,
  options: ReferenceOptions = {},
): Promise<{ readonly perplexity: number; readonly tokens: number; readonly windows: number }> {
  const windows = Math.floor((ids.length - 1) / window)
  const tokens = windows * window
  const all = Int32Array.from(ids)
  const states = await referenceStates(compute, src, all.subarray(0, tokens), window, options)
  const head = await loadReferenceHead(compute, src, options)
  let nats = 0
  for (let first = 0; first < tokens; first += logitRows) {
    const end = Math.min(tokens, first + logitRows)
    const logits = await headLogits(compute, src, head, compute.rowsOf(states, first, end), options)
    for (const value of await compute.crossEntropy(logits, all.slice(first + 1, end + 1))) nats += value
    logits.free()
  }
  for (const mat of [states, head.norm, head.weight]) mat.free()
  return { perplexity: Math.exp(nats / tokens), tokens, windows }
}
