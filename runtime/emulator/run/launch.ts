import {
  DeviceError,
  type LaunchArgument,
  type LaunchShape,
  type PreparedLaunch,
  type Stream,
} from '../../device.ts'
import type { EmulatorFunction } from './kernel.ts'
import { encodeTensorMap } from './tensor-map.ts'

/** One run of a kernel as it is enqueued: later changes of the prepared launch do not reach it. */
export interface LaunchRecord {
  readonly fn: EmulatorFunction
  readonly grid: readonly [number, number, number]
  readonly params: Uint8Array
  /** Whether the launch may begin before its predecessor has ended. */
  readonly overlaps: boolean
}

/** A launch whose argument block is packed once. */
export class EmulatorLaunch implements PreparedLaunch {
  readonly fn: EmulatorFunction
  readonly #params: Uint8Array
  readonly #view: DataView
  readonly #enqueue: (record: LaunchRecord, stream: Stream | undefined) => void
  readonly #overlaps: boolean
  #grid!: readonly [number, number, number]

  constructor(
    fn: EmulatorFunction,
    shape: LaunchShape,
    args: readonly LaunchArgument[],
    enqueue: (record: LaunchRecord, stream: Stream | undefined) => void,
  ) {
    const { params } = fn.program
    if (args.length !== params.length)
      throw new DeviceError(
        'INVALID_LAUNCH',
        `kernel ${fn.program.name} takes ${params.length} arguments, got ${args.length}`,
        { kernel: fn.program.name },
      )
    this.fn = fn
    this.#enqueue = enqueue
    this.#params = new Uint8Array(Math.max(fn.loaded.kernel.paramBytes, 8))
    this.#view = new DataView(this.#params.buffer)
    this.#overlaps = fn.program.overlaps && (shape.overlap ?? true)
    this.setGrid(shape.grid)
    args.forEach((value, index) => {
      this.setArgument(index, value)
    })
  }

  run(stream?: Stream): void {
    this.#enqueue({ fn: this.fn, grid: this.#grid, params: this.#params, overlaps: this.#overlaps }, stream)
  }

  setArgument(index: number, value: LaunchArgument): void {
    const param = this.fn.program.params[index]
    const slot = this.fn.loaded.kernel.params[index]
    if (!param || !slot) this.#refuse(`there is no argument ${index}`)
    if (param.kind === 'tensorMap') {
      if (typeof value === 'number') this.#refuse(`argument ${index} (${param.name}) must be a tensor map`)
      encodeTensorMap(this.#view, slot.offset, value, param.name)
      return
    }
    if (typeof value !== 'number') {
      this.#refuse(`argument ${index} (${param.name}) must be a number, not a tensor map`)
      return
    }
    if (param.kind === 'tensor') {
      this.#view.setUint32(slot.offset, value % 2 ** 32, true)
      this.#view.setUint32(slot.offset + 4, Math.floor(value / 2 ** 32), true)
    } else if (param.kind === 'dim' || param.dtype === 'i32') this.#view.setInt32(slot.offset, value, true)
    else if (param.dtype === 'u32') this.#view.setUint32(slot.offset, value, true)
    else this.#view.setFloat32(slot.offset, value, true)
  }

  setGrid(grid: readonly [number, number, number]): void {
    if (grid.some((extent) => !Number.isInteger(extent) || extent < 1 || extent > 0x7fffffff))
      this.#refuse(`it cannot be launched on a grid of ${grid.join(' x ')}`)
    const { cluster } = this.fn.loaded
    if (grid[0] % cluster !== 0)
      this.#refuse(`a grid of ${grid.join(' x ')} cannot be cut into clusters of ${cluster} CTAs along x`)
    this.#grid = [...grid]
  }

  #refuse(problem: string): never {
    const { name } = this.fn.program
    throw new DeviceError('INVALID_LAUNCH', `kernel ${name}: ${problem}`, { kernel: name })
  }
}
