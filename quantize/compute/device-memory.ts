import { type Device, DeviceError } from '../../runtime/device.ts'
import { Tensor } from '../../runtime/tensor.ts'
import type { Mat } from './compute.ts'

/** A matrix of f32 in device memory. */
export class DeviceMat implements Mat {
  readonly rows: number
  readonly columns: number
  /** [rows, columns]. */
  readonly tensor: Tensor
  readonly #free: (() => void) | undefined

  constructor(tensor: Tensor, free?: () => void) {
    const [rows, columns] = tensor.shape as readonly [number, number]
    this.tensor = tensor
    this.rows = rows
    this.columns = columns
    this.#free = free
  }

  /** All elements, one after the other. */
  get flat(): Tensor {
    return this.tensor.reshape([this.tensor.length])
  }

  free(): void {
    this.#free?.()
  }
}

/** The device's view of a handle; one of another backend is a mistake of the caller. */
export function deviceMat(m: Mat): DeviceMat {
  if (m instanceof DeviceMat) return m
  throw new TypeError('a matrix of another backend was given to DeviceCompute')
}

/** Bytes that are kept at most for the next matrices of the same sizes: those of a layer's activations, of which some are in use. */
const KEPT_BYTES = 2 ** 32

/**
 * Device memory that comes back as soon as it is freed. Some of it is kept for the next allocation of that size: asking the
 * driver waits for the device. Work runs in the order of its launches, so that memory may have a new owner before the last
 * launch of the old one has run.
 */
export class MatrixMemory {
  readonly #device: Device
  /** The longest kept first. */
  #kept: Tensor[] = []
  #keptBytes = 0
  #taken = 0
  #peak = 0

  constructor(device: Device) {
    this.#device = device
  }

  /** The most bytes that were taken from the device at once, those kept included. */
  get peakBytes(): number {
    return this.#peak
  }

  /** A tensor, its content undefined, and what gives it back; again is harmless. */
  take(
    dtype: 'f32' | 'i32' | 'u32' | 'u8' | 'i8' | 'f16' | 'bf16',
    shape: readonly number[],
  ): [Tensor, () => void] {
    const width = { f32: 4, i32: 4, u32: 4, u8: 1, i8: 1, f16: 2, bf16: 2 }[dtype]
    const bytes = Math.ceil(shape.reduce((product, extent) => product * extent, width) / 4) * 4
    const memory = this.#memory(bytes)
    let freed = false
    const free = () => {
      if (!freed) this.#giveBack(memory)
      freed = true
    }
    return [memory.view(0, dtype, shape), free]
  }

  /** A matrix, its content undefined. */
  matrix(rows: number, columns: number): DeviceMat {
    return new DeviceMat(...this.take('f32', [rows, columns]))
  }

  /** Gives everything that is kept to the device. */
  release(): void {
    this.#keep(0)
  }

  #memory(bytes: number): Tensor {
    const index = this.#kept.findLastIndex((tensor) => tensor.bytes === bytes)
    if (index >= 0) {
      this.#keptBytes -= bytes
      return this.#kept.splice(index, 1)[0]!
    }
    const memory = this.#allocate(bytes)
    this.#taken += bytes
    this.#peak = Math.max(this.#peak, this.#taken)
    return memory
  }

  #allocate(bytes: number): Tensor {
    try {
      return Tensor.allocate(this.#device, 'i32', [bytes / 4])
    } catch (error) {
      if (!(error instanceof DeviceError) || this.#keptBytes === 0) throw error
      this.release()
      return Tensor.allocate(this.#device, 'i32', [bytes / 4])
    }
  }

  #giveBack(memory: Tensor): void {
    this.#kept.push(memory)
    this.#keptBytes += memory.bytes
    this.#keep(KEPT_BYTES)
  }

  /** Gives to the device what is kept beyond so many bytes, the longest kept first. */
  #keep(most: number): void {
    while (this.#keptBytes > most) {
      const memory = this.#kept.shift()!
      memory.free()
      this.#keptBytes -= memory.bytes
      this.#taken -= memory.bytes
    }
  }
}
