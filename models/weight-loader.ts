import { CheckpointError } from '../checkpoint/error.ts'
import type { Checkpoint } from '../checkpoint/open.ts'
import { widen } from '../checkpoint/tensor.ts'
import { type DType, dtypeBytes } from '../dsl/dtype.ts'
import { unitRows } from '../dsl/format.ts'
import { packedShape, weightFormats } from '../kernels/formats/index.ts'
import { convertHalf, packHalf } from '../kernels/pack-half.ts'
import type { Device } from '../runtime/device.ts'
import { prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { Projection } from './projections.ts'
import { WeightUploads } from './weight-uploads.ts'
import {
  type ActivationType,
  halfBits,
  headFormatOf,
  type LinearWeights,
  type ProjectionFormat,
  productFormatOf,
  quantizedTensors,
  readTensor,
  requireShape,
  takesCodes,
} from './weights.ts'

/** Room for 16-bit floats on their way to another form. */
const scratchBytes = 2 ** 26

/** Loads the weights of a checkpoint onto a device, in the form in which kernels read them. */
export class WeightLoader {
  readonly device: Device
  readonly checkpoint: Checkpoint
  /** What 16-bit weights become. */
  readonly type: ActivationType
  readonly #uploads: WeightUploads
  readonly #scratch: Tensor | undefined
  /** i32 [1]: whether a value was too large for f16. */
  readonly #large: Tensor

  /** Converts and packs 16-bit weights on the device, or on the host: the emulator takes longer for it than the host. */
  constructor(
    device: Device,
    checkpoint: Checkpoint,
    type: ActivationType,
    onDevice = device.properties.driver !== null,
  ) {
    this.device = device
    this.checkpoint = checkpoint
    this.type = type
    this.#uploads = new WeightUploads(device)
    if (onDevice) this.#scratch = Tensor.allocate(device, 'u32', [scratchBytes / 4])
    this.#large = Tensor.from(device, 'i32', [1], [0])
  }

  /** A vector or matrix of 16-bit floats. */
  async half(name: string, shape: readonly number[]): Promise<Tensor<'row'>> {
    const { device, checkpoint, type } = this
    const { dtype } = requireShape(checkpoint, name, shape)
    const tensor = Tensor.allocate(device, type, shape)
    const [rows, columns] = [shape[0]!, shape.slice(1).reduce((product, extent) => product * extent, 1)]
    if (dtype === type) await this.#uploads.send(tensor, checkpoint.tensors, name)
    else if (this.#scratch && dtype === 'bf16' && type === 'f16' && columns % 8 === 0)
      await this.#convert(tensor.reshape([rows, columns]), name)
    else tensor.write(halfBits(readTensor(checkpoint, name, shape), type))
    return tensor
  }

  /** Floats of any type as f32. */
  floats(name: string, shape: readonly number[]): Tensor<'row'> {
    return Tensor.from(this.device, 'f32', shape, widen(readTensor(this.checkpoint, name, shape)))
  }

  /** One projection of one layer, quantized or not. */
  projection(layer: number, projection: Projection): Promise<LinearWeights> {
    const prefix = `model.layers.${layer}.`
    const format = productFormatOf(this.checkpoint, prefix + projection.path)
    return this.#weights(format, prefix, projection)
  }

  /** The output head, quantized or not. Throws `CheckpointError` for a format without a kernel. */
  head(projection: Projection): Promise<LinearWeights> {
    return this.#weights(headFormatOf(this.checkpoint), '', projection)
  }

  /** Waits until all is there. Throws `CheckpointError` for a weight that f16 cannot represent. */
  async finish(): Promise<void> {
    const [large] = await this.#large.read()
    if (large !== 0)
      throw new CheckpointError(
        `${this.checkpoint.folder} has a weight that f16 cannot represent; run the model as bf16`,
      )
  }

  /** Gives back what loading took; to be called in any case. */
  async close(): Promise<void> {
    await this.#uploads.close()
    this.#scratch?.free()
    this.#large.free()
  }

  async #weights(format: ProjectionFormat, prefix: string, projection: Projection): Promise<LinearWeights> {
    const { n, k, path } = projection
    const none = { scale: undefined, zero: undefined, bias: undefined }
    if (format === 'w16')
      return {
        ...none,
        ...{ format, n, k },
        w: await this.#packed(prefix, projection),
        bias: projection.bias ? this.#stackedBias(prefix, projection) : undefined,
      }
    const at = `${prefix}${path}.`
    const { tag } = weightFormats[format]
    return {
      ...none,
      ...{ format, n, k },
      w: await this.#stored(at + quantizedTensors.w, 'u32', packedShape(weightFormats[format], n, k), tag),
      ...(takesCodes(format) && { scale: await this.#stored(at + quantizedTensors.scale, 'f16', [n]) }),
      ...(format === 'w4a8' && { zero: await this.#stored(at + quantizedTensors.zero, 'u8', [n]) }),
      ...(projection.bias && { bias: await this.half(at + quantizedTensors.bias, [n]) }),
    }
  }

  /** A tensor as it is stored. */
  async #stored(name: string, dtype: DType, shape: readonly number[], tag = 'row'): Promise<Tensor> {
    const { device, checkpoint } = this
    const found = requireShape(checkpoint, name, shape).dtype
    if (found !== dtype)
      throw new CheckpointError(
        `${checkpoint.folder}: tensor ${name} holds ${found} and ${dtype} is expected; quantize the model again`,
      )
    const tensor = Tensor.allocate<string>(device, dtype, shape, tag)
    await this.#uploads.send(tensor, checkpoint.tensors, name)
    return tensor
  }

  #stackedBias(prefix: string, { n, parts }: Projection): Tensor {
    const bias = new Uint16Array(n)
    let row = 0
    for (const part of parts) {
      bias.set(halfBits(readTensor(this.checkpoint, `${prefix}${part.path}.bias`, [part.n]), this.type), row)
      row += part.n
    }
    return Tensor.from(this.device, this.type, [n], bias)
  }

  /** The output features of a projection's parts in the Hugging Face layout, one behind the other, packed. */
  async #packed(prefix: string, { n, k, parts }: Projection): Promise<Tensor> {
    const { device, checkpoint, type } = this
    const format = weightFormats.w16
    const shape = packedShape(format, n, k)
    const infos = parts.map((part) => requireShape(checkpoint, `${prefix}${part.path}.weight`, [part.n, k]))
    const from = infos[0]!.dtype
    const direct =
      this.#scratch && (from === type || (from === 'bf16' && type === 'f16')) && k % 16 === 0
        ? infos.every(({ dtype }) => dtype === from)
        : false
    if (!direct) {
      const codes = new Uint16Array(n * k)
      let row = 0
      for (const part of parts) {
        const tensor = readTensor(checkpoint, `${prefix}${part.path}.weight`, [part.n, k])
        codes.set(halfBits(tensor, type), row * k)
        row += part.n
      }
      return Tensor.from(device, 'u32', shape, format.pack({ codes }, n, k), format.tag)
    }
    const tensor = Tensor.allocate<string>(device, 'u32', shape, format.tag)
    const config = { K: k, from: from as ActivationType, to: type }
    const most = this.#rowsAtOnce(k)
    for (let first = 0; first < n; first += most) {
      const rows = Math.min(most, n - first)
      const src = this.#scratch!.view(0, config.from, [rows, k])
      await this.#gather(src, prefix, parts, first)
      const strips = Math.ceil(rows / unitRows)
      const out = tensor.view((first / unitRows) * shape[1] * shape[2] * dtypeBytes.u32, 'u32', [
        strips,
        shape[1],
        shape[2],
      ])
      ;(await prepare(device, packHalf, config, { src, large: this.#large, out })).run()
    }
    return tensor
  }

  /** Sends the rows of stacked parts from `first` on. */
  async #gather(dst: Tensor, prefix: string, parts: Projection['parts'], first: number): Promise<void> {
    const [rows, k] = dst.shape as [number, number]
    let start = 0
    for (const part of parts) {
      const from = Math.max(first, start)
      const to = Math.min(first + rows, start + part.n)
      if (from < to) {
        const name = `${prefix}${part.path}.weight`
        const rowBytes = k * dtypeBytes[dst.dtype]
        const place = dst.slice(from - first, to - first)
        await this.#uploads.send(place, this.checkpoint.tensors, name, (from - start) * rowBytes)
      }
      start += part.n
    }
  }

  async #convert(dst: Tensor, name: string): Promise<void> {
    const [n, k] = dst.shape as [number, number]
    const most = this.#rowsAtOnce(k)
    for (let first = 0; first < n; first += most) {
      const rows = Math.min(most, n - first)
      const src = this.#scratch!.view(0, 'bf16', [rows, k])
      await this.#uploads.send(src, this.checkpoint.tensors, name, first * k * dtypeBytes.bf16)
      const out = dst.slice(first, first + rows) as Tensor<'row'>
      const config = { K: k, from: 'bf16', to: 'f16' } as const
      ;(await prepare(this.device, convertHalf, config, { src, large: this.#large, out })).run()
    }
  }

  /** Whole strips of rows that the scratch memory has room for. */
  #rowsAtOnce(columns: number): number {
    return unitRows * Math.max(1, Math.floor(scratchBytes / (2 * columns * unitRows)))
  }
}
