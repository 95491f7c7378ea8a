import type { Checkpoint } from '../checkpoint/open.ts'
import type { QuantizedMatrix } from '../checkpoint/quantized-matrix.ts'
import { type HostTensor, widen } from '../checkpoint/tensor.ts'
import { type DType, dtypeBytes } from '../dsl/dtype.ts'
import { columnMultiple } from '../dsl/format.ts'
import { f16FromF32 } from '../dsl/half.ts'
import { weightFormats } from '../kernels/formats/index.ts'
import { productTensors } from '../models/product-tensors.ts'
import { layerProjections, type Projection } from '../models/projections.ts'
import { quantizedTensors } from '../models/weights.ts'
import { bytesOf } from '../runtime/bytes.ts'
import type { Compute, Mat } from './compute/compute.ts'
import { QuantizeError } from './error.ts'
import { type LayerState, type StackName, stacks } from './layer-state.ts'
import { layerPrefix, normTensors } from './load-layer.ts'
import type { QuantizedFormatName } from './round-to-nearest.ts'

/** Throws `QuantizeError` where a format cannot hold matrices of a product's width. */
export function checkWidth(prefix: string, { k, parts }: Projection, format: QuantizedFormatName): void {
  const multiple = columnMultiple(weightFormats[format])
  if (k % multiple !== 0)
    throw new QuantizeError(
      `tensor ${prefix}${parts[0]!.path}.weight has ${k} columns, and ${format} needs a multiple of ` +
        `${multiple}; choose another format`,
    )
}

/**
 * What makes the tensors that a layer becomes: everything is on the host then, and codes are left to be packed, which takes
 * long enough to let a device work meanwhile. Throws `QuantizeError` where a matrix has not been rounded.
 */
export async function layerTensors(
  src: Checkpoint,
  layer: LayerState,
  stored?: 'f32',
): Promise<() => HostTensor[]> {
  const { compute, config, norms, keys, weights } = layer
  const prefix = layerPrefix(layer.index)
  const tensors: HostTensor[] = []
  const packed: (() => HostTensor[])[] = []
  for (const [product, projection] of Object.entries(layerProjections(config)) as [StackName, Projection][]) {
    const format = layer.formats[product]
    if (format === 'w16') {
      for (const [i, name] of stacks[product].entries()) {
        const { path } = projection.parts[i]!
        tensors.push(await floatTensor(compute, src, `${prefix}${path}.weight`, weights[name], { stored }))
        const bias = layer.biases[name as 'q' | 'k' | 'v']
        if (bias) tensors.push(await floatTensor(compute, src, `${prefix}${path}.bias`, bias, { stored }))
      }
      continue
    }
    const parts: QuantizedMatrix[] = []
    for (const name of stacks[product]) {
      const rounded = layer.rounded[name]
      if (!rounded)
        throw new QuantizeError(
          `no pass has rounded ${name} of layer ${layer.index}; end the recipe with rtn or gptq`,
        )
      parts.push(await compute.encode(rounded.values, rounded.grid))
    }
    packed.push(() => productTensors(prefix + projection.path, format, parts))
    if (projection.bias) tensors.push(await biasTensor(src, layer, projection))
  }
  for (const [name, mat] of Object.entries(norms) as [keyof typeof normTensors, Mat][])
    tensors.push(await floatTensor(compute, src, prefix + normTensors[name], mat, { stored }))
  // A cache of floats is as good with the means of keys as without.
  if (keys.mean && !(stored && layer.kv.bits === 16)) tensors.push(await keyMeanTensor(layer, keys.mean))
  return () => [...packed.flatMap((pack) => pack()), ...tensors]
}

/** Rows of a matrix that come to the host at once, in elements. */
const chunkElements = 2 ** 24

/**
 * A tensor as the source has it where its values are still the same, and as f16 where they have changed; as f32 where that
 * is asked for. Comes to the host in pieces, since embedding tables are large.
 */
export async function floatTensor(
  compute: Compute,
  src: Checkpoint,
  name: string,
  mat: Mat,
  options: { readonly newName?: string; readonly stored?: 'f32' | undefined } = {},
): Promise<HostTensor> {
  const { newName = name, stored = 'f16' } = options
  const tensor = src.tensors.read(name)
  const bytes = new Uint8Array(mat.rows * mat.columns * dtypeBytes[stored])
  const width = dtypeBytes[tensor.dtype]
  const step = Math.max(1, Math.floor(chunkElements / mat.columns))
  let isSame = stored === 'f16'
  for (let first = 0; first < mat.rows; first += step) {
    const end = Math.min(mat.rows, first + step)
    const [from, to] = [first * mat.columns, end * mat.columns]
    const part = compute.rowsOf(mat, first, end)
    if (isSame) {
      const before = tensor.bytes.subarray(from * width, to * width)
      isSame = await isEqual(compute, part, { ...tensor, shape: [end - first, mat.columns], bytes: before })
    }
    const values =
      stored === 'f32' ? Float32Array.from(await compute.read(part)) : await compute.readHalfs(part)
    if (values instanceof Uint16Array && infinityAt(values) !== undefined) {
      const bad = (await compute.read(part))[infinityAt(values)!]
      throw beyondHalfs(newName, bad!)
    }
    bytes.set(bytesOf(values), from * dtypeBytes[stored])
  }
  return isSame ? { ...tensor, name: newName } : { name: newName, dtype: stored, shape: tensor.shape, bytes }
}

/** Whether a matrix has the values of a tensor. */
async function isEqual(compute: Compute, mat: Mat, tensor: HostTensor): Promise<boolean> {
  const difference = await compute.load(tensor)
  await compute.add(difference, mat, -1)
  const { absMax } = await compute.columnStats(difference)
  difference.free()
  return absMax.every((most) => most === 0)
}

/** Where the first number lies that f16 does not have. A typed array finds one of three values quicker than it tests each. */
const infinityAt = (bits: Uint16Array): number | undefined =>
  [0x7c00, 0xfc00, 0x7fff].map((bad) => bits.indexOf(bad)).find((index) => index >= 0)

const beyondHalfs = (name: string, value: number): QuantizeError =>
  new QuantizeError(`tensor ${name} would hold ${value}, which f16 cannot; leave out the pass that scales it`)

function halfs(name: string, values: Float32Array): Uint16Array {
  const bits = f16FromF32(values)
  const at = infinityAt(bits)
  if (at === undefined) return bits
  throw beyondHalfs(name, values[at]!)
}

async function biasTensor(
  src: Checkpoint,
  { compute, index, biases }: LayerState,
  projection: Projection,
): Promise<HostTensor> {
  const prefix = layerPrefix(index)
  const name = `${prefix}${projection.path}.${quantizedTensors.bias}`
  const parts: HostTensor[] = []
  for (const [i, { path }] of projection.parts.entries())
    parts.push(
      await floatTensor(compute, src, `${prefix}${path}.bias`, biases[(['q', 'k', 'v'] as const)[i]!]!),
    )
  const [{ dtype }] = parts as [HostTensor]
  const alike = parts.every((part) => part.dtype === dtype)
  const bytes = parts.map((part) => (alike ? part.bytes : bytesOf(halfs(name, widen(part)))))
  return { name, dtype: alike ? dtype : 'f16', shape: [projection.n], bytes: Buffer.concat(bytes) }
}

/** The mean of keys behind the Hadamard transform, which the kernels subtract last. */
async function keyMeanTensor({ compute, config, index, keys }: LayerState, mean: Mat): Promise<HostTensor> {
  const { kvHeads, headDim } = config
  const turned = compute.allocate(1, mean.columns)
  await compute.copy(turned, mean)
  if (keys.hadamard) await compute.hadamard(turned, headDim)
  const values = Float32Array.from(await compute.read(turned))
  turned.free()
  return {
    name: `${layerPrefix(index)}self_attn.key_mean`,
    dtype: 'f32',
    shape: [kvHeads, headDim],
    bytes: bytesOf(values),
  }
}

/** Throws `QuantizeError` for a type that is only copied and that the kernels do not know. */
export function copiedType(src: Checkpoint, name: string): DType {
  const { dtype } = src.tensors.info(name)
  if (dtype in dtypeBytes) return dtype as DType
  throw new QuantizeError(
    `tensor ${name} holds ${dtype}, which Quattuor does not compute with; convert the checkpoint to bf16, f16 or f32`,
  )
}
