import { type DType, dtypeBytes } from '../dsl/dtype.ts'
import { e4m3Bits, e4m3Value } from '../dsl/float8.ts'
import { bf16FromF32, f16FromF32, f16Value, f32FromBf16, f32FromF16 } from '../dsl/half.ts'
import { type Device, DeviceError, type DeviceMemory, type DeviceRange, type Stream } from './device.ts'

/** The host array of each element type; f16, bf16 and floats of 8 bits travel as their bits. */
const arrays = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i8: Int8Array,
  u8: Uint8Array,
  e4m3: Uint8Array,
  e5m2: Uint8Array,
} as const satisfies Record<DType, unknown>

export type HostArray = Float32Array | Uint16Array | Int32Array | Uint32Array | Int8Array | Uint8Array

/** Memory behind a tensor and its views: they all learn at once that it is gone. */
interface Storage {
  readonly memory: DeviceMemory | undefined
  freed: boolean
}

/** A tensor was made, viewed or filled with sizes or element types that do not fit. */
export class TensorError extends Error {
  override readonly name = 'TensorError'
}

/**
 * A tensor in device memory. Elements lie densely: row-major under the tag `row`, and otherwise as the packer that the
 * tag names laid them out, with `shape` counting stored elements.
 *
 * `Tag` lets the editor refuse a tensor of one known layout where a kernel reads another; a plain `Tensor` passes
 * there and is checked at launch.
 */
export class Tensor<Tag extends string = string> implements DeviceRange {
  readonly device: Device
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly tag: string
  readonly address: number
  /** Number of elements. */
  readonly length: number
  readonly bytes: number
  readonly #storage: Storage
  readonly #owner: boolean

  /** Never there: a method's parameter is what makes TypeScript compare tags but accept plain tensors. */
  readonly tagType?: { compare(tag: Tag): void }

  private constructor(
    device: Device,
    dtype: DType,
    shape: readonly number[],
    tag: string,
    place: { address: number; storage: Storage; owner: boolean },
  ) {
    this.device = device
    this.dtype = dtype
    this.shape = shape
    this.tag = tag
    this.address = place.address
    this.length = lengthOf(shape)
    this.bytes = this.length * dtypeBytes[dtype]
    this.#storage = place.storage
    this.#owner = place.owner
  }

  /** A new tensor, its content undefined. Throws `TensorError` for no element type, `DeviceError` when memory is short. */
  static allocate<Tag extends string = 'row'>(
    device: Device,
    dtype: DType,
    shape: readonly number[],
    tag: Tag = 'row' as Tag,
  ): Tensor<Tag> {
    if (!Object.hasOwn(dtypeBytes, dtype))
      throw new TensorError(
        `there is no element type '${dtype}'; there are ${Object.keys(dtypeBytes).join(', ')}`,
      )
    const memory = device.allocate(lengthOf(shape) * dtypeBytes[dtype])
    const storage = { memory, freed: false }
    return new Tensor<Tag>(device, dtype, [...shape], tag, { address: memory.address, storage, owner: true })
  }

  /** A new tensor holding `data`; see `write` for what `data` may be. */
  static from<Tag extends string = 'row'>(
    device: Device,
    dtype: DType,
    shape: readonly number[],
    data: HostArray | readonly number[],
    tag: Tag = 'row' as Tag,
  ): Tensor<Tag> {
    const source = hostArray(dtype, lengthOf(shape), data)
    const tensor = Tensor.allocate<Tag>(device, dtype, shape, tag)
    device.write(tensor, source)
    return tensor
  }

  /** A tensor over memory that someone else owns and frees: part of an arena, say. */
  static over<Tag extends string = 'row'>(
    device: Device,
    range: DeviceRange,
    dtype: DType,
    shape: readonly number[],
    tag: Tag = 'row' as Tag,
  ): Tensor<Tag> {
    const bytes = lengthOf(shape) * dtypeBytes[dtype]
    if (bytes > range.bytes)
      throw new TensorError(
        `${describe(dtype, shape)} needs ${bytes} bytes and the memory range has ${range.bytes}`,
      )
    const storage = { memory: undefined, freed: false }
    return new Tensor<Tag>(device, dtype, [...shape], tag, { address: range.address, storage, owner: false })
  }

  /** Whether `free` was called on this tensor or on the one that it is a view of. */
  get freed(): boolean {
    return this.#storage.freed
  }

  /**
   * Enqueues a copy from the host: an array of the element type with exactly as many elements, the same bytes as a
   * `Uint8Array`, or plain numbers or a `Float32Array` that are rounded to f16 or bf16.
   */
  write(data: HostArray | readonly number[], stream?: Stream): void {
    this.#checkAlive()
    this.device.write(this, hostArray(this.dtype, this.length, data), stream)
  }

  /** Copies to a new host array; f16, bf16 and floats of 8 bits come as their bits (see `readFloats`). */
  async read(stream?: Stream): Promise<HostArray> {
    this.#checkAlive()
    const data = new arrays[this.dtype](this.length)
    await this.device.read(data, this, stream)
    return data
  }

  /** Copies to a new host array of f32 values; integer elements become floats as JavaScript numbers do. */
  async readFloats(stream?: Stream): Promise<Float32Array> {
    const data = await this.read(stream)
    if (this.dtype === 'f16') return f32FromF16(data as Uint16Array)
    if (this.dtype === 'bf16') return f32FromBf16(data as Uint16Array)
    if (this.dtype === 'e4m3') return Float32Array.from(data, e4m3Value)
    // The upper half of an f16 has the format of e5m2.
    if (this.dtype === 'e5m2') return Float32Array.from(data, (bits) => f16Value(bits << 8))
    return data instanceof Float32Array ? data : Float32Array.from(data)
  }

  /** Enqueues setting every byte of every element. */
  fill(byte: number, stream?: Stream): void {
    this.#checkAlive()
    this.device.fill(this, byte, stream)
  }

  /** Enqueues a copy from a tensor of the same element type, shape and layout. */
  copyFrom(src: Tensor, stream?: Stream): void {
    this.#checkAlive()
    if (src.dtype !== this.dtype || src.tag !== this.tag || src.shape.join() !== this.shape.join())
      throw new TensorError(
        `cannot copy ${describe(src.dtype, src.shape, src.tag)} into ${describe(this.dtype, this.shape, this.tag)}`,
      )
    this.device.copy(this, src, stream)
  }

  /** A view of rows `start` to `end` (excluded) of the leading dimension of a row-major tensor. */
  slice(start: number, end: number): Tensor<Tag> {
    const [rows, ...rest] = this.shape
    if (rows === undefined) throw new TensorError('a scalar tensor has no leading dimension to slice')
    if (this.tag !== 'row')
      throw new TensorError(
        `rows of layout '${this.tag}' do not lie one after the other: use view() with the offset that its packer gives`,
      )
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end <= start || end > rows)
      throw new TensorError(`rows ${start} to ${end} are not within the ${rows} rows of the tensor`)
    const rowBytes = this.bytes / rows
    return this.#viewAt(start * rowBytes, this.dtype, [end - start, ...rest], this.tag)
  }

  /** A row-major view of the leading index `row`, one dimension less. */
  at(row: number): Tensor<Tag> {
    return this.slice(row, row + 1).reshape(this.shape.slice(1))
  }

  /** A view of the same elements, row-major, under another shape of equal size. */
  reshape(shape: readonly number[]): Tensor<Tag> {
    if (this.tag !== 'row')
      throw new TensorError(`a tensor of layout '${this.tag}' cannot be reshaped: its packer fixed the shape`)
    if (lengthOf(shape) !== this.length)
      throw new TensorError(`cannot reshape ${describe(this.dtype, this.shape)} to [${shape.join(', ')}]`)
    return this.#viewAt(0, this.dtype, shape, this.tag)
  }

  /** A view of any part of the memory as another tensor; `offset` in bytes. */
  view<T extends string = 'row'>(
    offset: number,
    dtype: DType,
    shape: readonly number[],
    tag: T = 'row' as T,
  ): Tensor<T> {
    const bytes = lengthOf(shape) * dtypeBytes[dtype]
    if (!Number.isInteger(offset) || offset < 0 || offset + bytes > this.bytes)
      throw new TensorError(
        `${bytes} bytes at offset ${offset} are not within the ${this.bytes} of the tensor`,
      )
    return this.#viewAt(offset, dtype, shape, tag) as Tensor<string> as Tensor<T>
  }

  /** Gives the memory back; again is harmless. Views do not own memory and refuse. */
  free(): void {
    if (!this.#owner) throw new TensorError('a view does not own its memory: free the tensor that it views')
    this.#storage.freed = true
    this.#storage.memory?.free()
  }

  #viewAt(offset: number, dtype: DType, shape: readonly number[], tag: string): Tensor<Tag> {
    this.#checkAlive()
    const place = { address: this.address + offset, storage: this.#storage, owner: false }
    return new Tensor<Tag>(this.device, dtype, [...shape], tag, place)
  }

  #checkAlive(): void {
    if (this.freed)
      throw new DeviceError('FREED', `${describe(this.dtype, this.shape)} was freed and cannot be used again`)
  }
}

/** `f16 [8, 4096]`, with its layout where that is not `row`. */
export function describe(dtype: DType, shape: readonly number[], tag = 'row'): string {
  return `${dtype} [${shape.join(', ')}]${tag === 'row' ? '' : ` in layout '${tag}'`}`
}

function lengthOf(shape: readonly number[]): number {
  let length = 1
  for (const extent of shape) {
    if (!Number.isInteger(extent) || extent < 1)
      throw new TensorError(`every extent must be a positive integer, got shape [${shape.join(', ')}]`)
    length *= extent
  }
  if (!Number.isSafeInteger(length))
    throw new TensorError(`shape [${shape.join(', ')}] has too many elements`)
  return length
}

/** `data` as the bytes to copy, checked against the element type and count. */
function hostArray(dtype: DType, length: number, data: HostArray | readonly number[]): HostArray {
  if (data instanceof arrays[dtype] && data.length === length) return data
  if (data instanceof Uint8Array && data.length === length * dtypeBytes[dtype]) return data
  if (data.length === length) {
    if (dtype === 'f16' || dtype === 'bf16') {
      const round = dtype === 'f16' ? f16FromF32 : bf16FromF32
      if (data instanceof Float32Array) return round(data)
      if (Array.isArray(data)) return round(Float32Array.from(data as readonly number[]))
    } else if (dtype === 'e4m3') {
      if (data instanceof Float32Array || Array.isArray(data)) return Uint8Array.from(data, e4m3Bits)
    } else if (Array.isArray(data) && dtype !== 'e5m2') {
      return arrays[dtype].from(data as readonly number[])
    }
  }
  const got = Array.isArray(data) ? 'numbers' : (data as HostArray).constructor.name
  throw new TensorError(
    `${length} elements of ${dtype} cannot be filled from ${data.length} elements of ${got}: ` +
      `give a ${arrays[dtype].name} of ${length}`,
  )
}
