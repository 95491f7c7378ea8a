import { CheckpointError } from '../checkpoint/error.ts'
import type { Checkpoint } from '../checkpoint/open.ts'
import type { NamedFormat } from '../checkpoint/quantized.ts'
import { type HostTensor, widen } from '../checkpoint/tensor.ts'
import type { DType } from '../dsl/dtype.ts'
import { bf16FromF32, f16FromF32 } from '../dsl/half.ts'
import { packedShape, type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import type { Device } from '../runtime/device.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { Projection } from './projections.ts'

/** The tensors of one matrix product on the device; which of them exist follows from the format. */
export interface LinearWeights {
  readonly format: ProjectionFormat
  readonly n: number
  readonly k: number
  /** Codes in fragment order, with the parameters of groups. */
  readonly w: Tensor
  /** f16, one per output feature. */
  readonly scale: Tensor | undefined
  /** u8, one per output feature. */
  readonly zero: Tensor | undefined
  readonly bias: Tensor | undefined
}

/** The type of activations, norms, embeddings and biases of a model on the device. */
export type ActivationType = 'f16' | 'bf16'

/** Names of a quantized projection's tensors, below its path. */
export const quantizedTensors = {
  w: 'codes',
  scale: 'scale',
  zero: 'zero',
  bias: 'bias',
} as const

/** The formats that a checkpoint's widths may mean. */
export const projectionFormats = [
  'w8a8',
  'w4a8',
  'w4a8-g128',
  'w4a8-g64',
  'w4a8-g32',
  'w4a16-g128',
  'w4a16-g64',
  'w4a16-g32',
] as const

/** The format of a projection on the device. */
export type ProjectionFormat = 'w16' | (typeof projectionFormats)[number]

/** The format of a checkpoint's projections. Throws `CheckpointError` for widths or an order without a kernel. */
export function weightFormatOf(checkpoint: Checkpoint): ProjectionFormat {
  const { weights, activations } = checkpoint.format
  const { bits, group, layout } = weights
  if (bits >= 16) return 'w16'
  const found = projectionFormats.find((name) => {
    const format = weightFormats[name]
    return format.bits === bits && format.group === group && takesCodes(name) === (activations.bits === 8)
  })
  if (found && weightFormats[found].tag === layout) return found
  throw new CheckpointError(
    found
      ? `${checkpoint.folder} holds weights in the order '${layout}', and the kernels read '${weightFormats[found].tag}'; ` +
          'quantize the model again'
      : `${checkpoint.folder} is quantized as ${checkpoint.format.name}, for which there is no kernel; ` +
          `quantize it as one of ${projectionFormats.join(', ')}`,
  )
}

/** The format of a checkpoint's output head. */
export const headFormatOf = (checkpoint: Checkpoint): ProjectionFormat =>
  checkpoint.format.head ? namedFormat(checkpoint, 'an output head', checkpoint.format.head) : 'w16'

/** The format of one product of a layer, by its path. Throws `CheckpointError` for one without a kernel. */
export function productFormatOf(checkpoint: Checkpoint, path: string): ProjectionFormat {
  const usual = weightFormatOf(checkpoint)
  const exception = checkpoint.format.exceptions?.[path]
  if (!exception) return usual
  const found = namedFormat(checkpoint, path, exception)
  if (takesCodes(found) === takesCodes(usual)) return found
  throw new CheckpointError(
    `${checkpoint.folder} has ${path} in the format ${found} in a model of ${usual}, and the two take other activations; ` +
      'quantize the model again',
  )
}

function namedFormat(
  { folder }: Checkpoint,
  what: string,
  { format, layout }: NamedFormat,
): ProjectionFormat {
  const found = projectionFormats.find((name) => name === format)
  if (found && weightFormats[found].tag === layout) return found
  throw new CheckpointError(
    `${folder} has ${what} in the format ${format}, in the order '${layout}', and the kernels read ` +
      `${projectionFormats.join(', ')}${found ? ` in '${weightFormats[found].tag}'` : ''}; quantize the model again`,
  )
}

/** Whether the products of a format take activations of 8 bits, and the scale of a row of weights apart. */
export const takesCodes = (format: ProjectionFormat): boolean =>
  (weightFormats[format] as WeightFormat).activations.includes('i8')

/** A tensor of a checkpoint with the shape that the configuration asks for. */
export function readTensor(checkpoint: Checkpoint, name: string, shape: readonly number[]): HostTensor {
  const { shape: found } = checkpoint.tensors.info(name)
  if (found.join() !== shape.join())
    throw new CheckpointError(
      `${checkpoint.folder}: tensor ${name} has shape [${found.join(', ')}] and config.json asks for ` +
        `[${shape.join(', ')}]; the weights and the configuration are not of the same model`,
    )
  return checkpoint.tensors.read(name)
}

/** The bits of a floating-point tensor in a 16-bit type; a value that f16 cannot hold is refused. */
export function halfBits(tensor: HostTensor, type: ActivationType): Uint16Array {
  if (tensor.dtype === type) return new Uint16Array(new Uint8Array(tensor.bytes).buffer)
  const values = widen(tensor)
  if (type === 'bf16') return bf16FromF32(values)
  const large = values.findIndex((value) => Math.abs(value) > 65504)
  if (large >= 0)
    throw new CheckpointError(
      `tensor ${tensor.name} holds ${values[large]}, which f16 cannot represent; run the model as bf16`,
    )
  return f16FromF32(values)
}

/** Uploads a vector or matrix of weights as the activation type. */
export function loadHalf(
  device: Device,
  checkpoint: Checkpoint,
  name: string,
  shape: readonly number[],
  type: ActivationType,
): Tensor<'row'> {
  return Tensor.from(device, type, shape, halfBits(readTensor(checkpoint, name, shape), type))
}

/** Uploads a tensor of floats of any type as f32. */
export function loadFloats(
  device: Device,
  checkpoint: Checkpoint,
  name: string,
  shape: readonly number[],
): Tensor<'row'> {
  return Tensor.from(device, 'f32', shape, widen(readTensor(checkpoint, name, shape)))
}

/** Packs a 16-bit matrix [n, k] for the GEMM and uploads it. */
export function loadHalfMatrix(
  device: Device,
  codes: Uint16Array,
  n: number,
  k: number,
  bias?: Tensor,
): LinearWeights {
  const format = weightFormats.w16
  return {
    format: 'w16',
    n,
    k,
    w: Tensor.from(device, 'u32', packedShape(format, n, k), format.pack({ codes }, n, k), format.tag),
    scale: undefined,
    zero: undefined,
    bias,
  }
}

/** Loads one projection of one layer, quantized or not. */
export function loadProjection(
  device: Device,
  checkpoint: Checkpoint,
  layer: number,
  projection: Projection,
  type: ActivationType,
): LinearWeights {
  const prefix = `model.layers.${layer}.`
  const format = productFormatOf(checkpoint, prefix + projection.path)
  return loadAs(device, checkpoint, format, prefix, projection, type)
}

/** Loads the output head, quantized or not. Throws `CheckpointError` for a format without a kernel. */
export function loadHead(
  device: Device,
  checkpoint: Checkpoint,
  projection: Projection,
  type: ActivationType,
): LinearWeights {
  return loadAs(device, checkpoint, headFormatOf(checkpoint), '', projection, type)
}

function loadAs(
  device: Device,
  checkpoint: Checkpoint,
  format: ProjectionFormat,
  prefix: string,
  projection: Projection,
  type: ActivationType,
): LinearWeights {
  if (format === 'w16') return stackParts(device, checkpoint, prefix, projection, type)

  const { n, k, path } = projection
  const load = (suffix: string, dtype: DType, shape: readonly number[], tag = 'row'): Tensor => {
    const name = `${prefix}${path}.${suffix}`
    const tensor = readTensor(checkpoint, name, shape)
    if (tensor.dtype !== dtype)
      throw new CheckpointError(
        `${checkpoint.folder}: tensor ${name} holds ${tensor.dtype} and ${dtype} is expected; quantize the model again`,
      )
    return Tensor.from(device, dtype, shape, tensor.bytes, tag)
  }
  return {
    format,
    n,
    k,
    w: load(quantizedTensors.w, 'u32', packedShape(weightFormats[format], n, k), weightFormats[format].tag),
    scale: takesCodes(format) ? load(quantizedTensors.scale, 'f16', [n]) : undefined,
    zero: format === 'w4a8' ? load(quantizedTensors.zero, 'u8', [n]) : undefined,
    bias: projection.bias ? loadHalf(device, checkpoint, `${prefix}${path}.bias`, [n], type) : undefined,
  }
}

/** Stacks the output features of a projection's parts in the Hugging Face layout. */
function stackParts(
  device: Device,
  checkpoint: Checkpoint,
  prefix: string,
  projection: Projection,
  type: ActivationType,
): LinearWeights {
  const { n, k, parts } = projection
  const codes = new Uint16Array(n * k)
  const bias = new Uint16Array(n)
  let row = 0
  for (const part of parts) {
    const name = `${prefix}${part.path}`
    codes.set(halfBits(readTensor(checkpoint, `${name}.weight`, [part.n, k]), type), row * k)
    if (projection.bias) bias.set(halfBits(readTensor(checkpoint, `${name}.bias`, [part.n]), type), row)
    row += part.n
  }
  return loadHalfMatrix(
    device,
    codes,
    n,
    k,
    projection.bias ? Tensor.from(device, type, [n], bias) : undefined,
  )
}
