import { f16Bits, f16Value } from '../../dsl/half.ts'
import { CheckpointError } from '../error.ts'
import type { QuantizedMatrix } from '../quantized-matrix.ts'
import { type HostTensor, type TensorSource, widen } from '../tensor.ts'

/** Numbers that a kernel of ours multiplies with as they are. */
export interface ForeignFormat {
  readonly bits: 4 | 8
  /** Input channels that share a scale; 0 where a row has one alone. */
  readonly group: 0 | 32 | 64 | 128
  readonly activations: 8 | 16
}

/** The quantized projections of another program's checkpoint, by their paths in the Hugging Face layout. */
export interface ForeignWeights {
  /** As messages name it: `AWQ`, `GPTQ`, … */
  readonly scheme: string
  /** What holds all projections exactly as codes; `undefined` where floats alone do. */
  readonly format: ForeignFormat | undefined
  /** Bits of the key/value cache that the checkpoint was made for. */
  readonly kvBits: 4 | 8 | 16
  /** What a user should know, a sentence each. */
  readonly notes: readonly string[]
  /** Whether a tensor belongs to a quantized projection, and not to the rest of the model. */
  owns(name: string): boolean
  /** The codes of a projection of `n` output and `k` input features, where `format` is given. */
  codes(path: string, n: number, k: number): QuantizedMatrix
  /** The weights [n, k] that a projection stands for, in the roundings of its program. */
  floats(path: string, n: number, k: number): Float32Array
}

/** What a checkpoint of another program is recognized from. */
export interface ForeignFiles {
  readonly folder: string
  readonly tensors: TensorSource
  /** `quantization_config` of config.json. */
  readonly declared: Readonly<Record<string, unknown>> | undefined
  /** The paths of all projections of all layers. */
  readonly paths: readonly string[]
}

/** A tensor of one of the types and of the shape that its scheme asks for. Throws `CheckpointError`. */
export function readShaped(
  { folder, tensors }: Pick<ForeignFiles, 'folder' | 'tensors'>,
  name: string,
  dtypes: readonly string[],
  shape: readonly number[],
): HostTensor {
  const info = tensors.info(name)
  if (info.shape.join() !== shape.join() || !dtypes.includes(info.dtype))
    throw new CheckpointError(
      `${folder}: tensor ${name} is ${info.dtype} [${info.shape.join(', ')}], and ${dtypes.join(' or ')} ` +
        `[${shape.join(', ')}] is expected; the weights and the configuration are not of the same model`,
    )
  return tensors.read(name)
}

/** The words of an i32 tensor. */
export const wordsOf = ({ bytes }: HostTensor): Int32Array => new Int32Array(new Uint8Array(bytes).buffer)

/** Scales as bits of f16. Throws `CheckpointError` for one that f16 does not hold exactly. */
export function halfScales(folder: string, tensor: HostTensor): Uint16Array {
  if (tensor.dtype === 'f16') return new Uint16Array(new Uint8Array(tensor.bytes).buffer)
  return Uint16Array.from(widen(tensor), (scale) => {
    const bits = f16Bits(scale)
    if (f16Value(bits) === scale) return bits
    throw new CheckpointError(
      `${folder}: tensor ${tensor.name} has a scale of ${scale}, which f16 does not hold; quantize the original model instead`,
    )
  })
}

/** [rows, columns] to [columns, rows]. */
export function transposed<T extends Uint8Array | Uint16Array | Float32Array>(
  src: T,
  rows: number,
  columns: number,
): T {
  const dst = new (src.constructor as new (length: number) => T)(src.length)
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) dst[c * rows + r] = src[r * columns + c]!
  return dst
}

/** Groups of a multiple of 128 columns are groups of 128 with parameters in common. */
export function kernelGroup(group: number): 32 | 64 | 128 | undefined {
  if (group === 32 || group === 64) return group
  return group % 128 === 0 ? 128 : undefined
}

/** Parameters of groups of `group` columns, [rows, k / group], for groups of `smaller`. */
export function spreadGroups<T extends Uint8Array | Uint16Array>(src: T, times: number): T {
  if (times === 1) return src
  const dst = new (src.constructor as new (length: number) => T)(src.length * times)
  for (let i = 0; i < src.length; i++) dst.fill(src[i]!, i * times, (i + 1) * times)
  return dst
}

/** The layers' part of a name of a scheme's tensor: `…q_proj` of `…q_proj.qweight`; `undefined` for other tensors. */
export function ownedPath(name: string, suffixes: readonly string[]): string | undefined {
  const suffix = suffixes.find((each) => name.endsWith(`.${each}`))
  return suffix && name.slice(0, -suffix.length - 1)
}
