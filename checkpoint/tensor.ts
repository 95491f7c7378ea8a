import { type DType, dtypeBytes } from '../dsl/dtype.ts'
import { f32FromBf16, f32FromF16 } from '../dsl/half.ts'
import { CheckpointError } from './error.ts'

/** A tensor in host memory: row-major, little-endian, `bytes` exactly the product of `shape` times the element size. */
export interface HostTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

/** What a file says about a tensor. Types that Quattuor does not compute with can be listed, but not read. */
export interface TensorInfo {
  readonly name: string
  readonly dtype: StoredDType
  readonly shape: readonly number[]
  readonly byteLength: number
}

export type StoredDType = DType | 'f64' | 'i64' | 'u64' | 'i16' | 'u16' | 'bool'

/** Named tensors that are read from disk when asked for. */
export interface TensorSource {
  readonly names: readonly string[]
  has(name: string): boolean
  /** Throws `CheckpointError` when there is no such tensor. */
  info(name: string): TensorInfo
  /** Reads a whole tensor into fresh memory. */
  read(name: string): HostTensor
  /** Fills `dst` with the tensor's bytes from `byteOffset` on, so that weights can go straight to pinned memory. */
  readInto(dst: Uint8Array, name: string, byteOffset?: number): void
  close(): void
}

/** What `info` throws when there is no such tensor. */
export function missingTensor(path: string, name: string): never {
  throw new CheckpointError(
    `${path} has no tensor ${name}; is this the checkpoint that its config.json describes?`,
  )
}

/** Throws `RangeError` unless `length` bytes from `byteOffset` on lie in a tensor of `byteLength`. */
export function checkPart(name: string, byteLength: number, byteOffset: number, length: number): void {
  if (byteOffset < 0 || byteOffset + length > byteLength)
    throw new RangeError(
      `tensor ${name} has ${byteLength} bytes; ${length} bytes from ${byteOffset} on were asked for`,
    )
}

/** A tensor in memory of its own, which `fill` is asked to fill. Throws `CheckpointError` for types of no use. */
export function readWhole(path: string, info: TensorInfo, fill: (dst: Uint8Array) => void): HostTensor {
  const { name, dtype, shape, byteLength } = info
  if (!(dtype in dtypeBytes))
    throw new CheckpointError(
      `${path}: tensor ${name} holds ${dtype}, which Quattuor does not compute with; ` +
        'convert the checkpoint to bf16, f16 or f32',
    )
  const bytes = new Uint8Array(byteLength)
  fill(bytes)
  return { name, dtype: dtype as DType, shape, bytes }
}

/** Number of elements. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1)
}

/** The bytes that a tensor of a type and a shape has. */
export const byteLengthOf = ({ dtype, shape }: { dtype: DType; shape: readonly number[] }): number =>
  elementCount(shape) * dtypeBytes[dtype]

/**
 * The values of an f32, f16 or bf16 tensor, widened exactly. Throws `CheckpointError` for integers and for 8-bit floats,
 * whose scales are tensors of their own.
 */
export function widen(tensor: HostTensor): Float32Array {
  const { bytes, dtype, name } = tensor
  const count = bytes.byteLength / dtypeBytes[dtype]
  // A copy, because typed arrays want aligned memory and hosts that we run on are little-endian.
  const aligned = () => new Uint8Array(bytes).buffer
  switch (dtype) {
    case 'f32':
      return new Float32Array(aligned(), 0, count)
    case 'f16':
      return f32FromF16(new Uint16Array(aligned(), 0, count))
    case 'bf16':
      return f32FromBf16(new Uint16Array(aligned(), 0, count))
    default:
      throw new CheckpointError(
        `tensor ${name} holds ${dtype} codes; only f32, f16 and bf16 tensors have values by themselves: ` +
          'convert the checkpoint to one of them',
      )
  }
}
