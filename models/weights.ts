import { CheckpointError } from '../checkpoint/error.ts'
import type { Checkpoint } from '../checkpoint/open.ts'
import type { NamedFormat } from '../checkpoint/quantized.ts'
import { type HostTensor, type TensorInfo, widen } from '../checkpoint/tensor.ts'
import { bf16FromF32, f16FromF32 } from '../dsl/half.ts'
import { type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import type { Tensor } from '../runtime/tensor.ts'

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

/** What a checkpoint says of a tensor, which must have the shape that the configuration asks for. */
export function requireShape(checkpoint: Checkpoint, name: string, shape: readonly number[]): TensorInfo {
  const info = checkpoint.tensors.info(name)
  if (info.shape.join() !== shape.join())
    throw new CheckpointError(
      `${checkpoint.folder}: tensor ${name} has shape [${info.shape.join(', ')}] and config.json asks for ` +
        `[${shape.join(', ')}]; the weights and the configuration are not of the same model`,
    )
  return info
}

/** A tensor of a checkpoint with the shape that the configuration asks for. */
export function readTensor(checkpoint: Checkpoint, name: string, shape: readonly number[]): HostTensor {
  requireShape(checkpoint, name, shape)
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

/**
 * Models of quantized activations compute in f16, whose extra bits they can use; others in their own type, which is that of
 * the embeddings where the weights are quantized.
 */
export function activationTypeOf(checkpoint: Checkpoint): ActivationType {
  if (takesCodes(weightFormatOf(checkpoint))) return 'f16'
  const { dtype } = checkpoint.tensors.info('model.embed_tokens.weight')
  return dtype === 'f16' ? 'f16' : 'bf16'
}
