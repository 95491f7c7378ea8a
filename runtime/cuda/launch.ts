import type { Param } from '../../codegen/program.ts'
import {
  DeviceError,
  type LaunchArgument,
  type LaunchShape,
  type PreparedLaunch,
  type Stream,
} from '../device.ts'
import { addressOf, setU64 } from './driver.ts'
import type { CudaFunction } from './module.ts'
import { type CudaStream, streamOf } from './stream.ts'
import { encodeTensorMap, tensorMapAlign, tensorMapBytes } from './tensor-map.ts'

/**
 * Offsets in a launch's one block of memory, which the driver reads in place:
 *
 * - `CUlaunchConfig`, 56 bytes: grid, CTA, shared memory, stream, attributes and their count;
 * - one `CUlaunchAttribute`, 72 bytes: its id, and its value at 8;
 * - the arguments, aligned for tensor maps, and behind them a pointer to each. (A driver's `extra` list, which takes the
 *   arguments as one block, refuses kernels with tensor maps: invalid value, driver 580.)
 */
const offset = {
  grid: 0,
  block: 12,
  shared: 24,
  stream: 32,
  attributes: 40,
  attributeCount: 48,
  attribute: 56,
  args: 128,
} as const

/** `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`. */
const overlapAttribute = 6

const bytesOf = (param: Param): number =>
  param.kind === 'tensorMap' ? tensorMapBytes : param.kind === 'tensor' ? 8 : 4

/** Where each parameter lies in the argument block: at its natural alignment, in declaration order. */
export function argumentOffsets(params: readonly Param[]): { offsets: number[]; bytes: number } {
  let bytes = 0
  const offsets = params.map((param) => {
    const size = bytesOf(param)
    const align = Math.min(size, tensorMapAlign)
    const at = Math.ceil(bytes / align) * align
    bytes = at + size
    return at
  })
  return { offsets, bytes }
}

/** A launch packed once; running it again costs one call of the driver and no allocation. */
export class CudaLaunch implements PreparedLaunch {
  readonly fn: CudaFunction
  readonly #view: DataView
  readonly #address: number
  readonly #pointers: number
  readonly #offsets: readonly number[]
  readonly #defaultStream: CudaStream
  #stream: CudaStream | undefined

  constructor(
    fn: CudaFunction,
    shape: LaunchShape,
    args: readonly LaunchArgument[],
    defaultStream: CudaStream,
  ) {
    const { program } = fn
    this.fn = fn
    if (args.length !== program.params.length)
      throw this.#refused(`takes ${program.params.length} arguments, got ${args.length}`)
    this.#defaultStream = defaultStream
    const { offsets, bytes } = argumentOffsets(program.params)
    this.#offsets = offsets
    const pointers = offset.args + Math.ceil(bytes / 8) * 8
    const memory = new ArrayBuffer(pointers + 8 * offsets.length + tensorMapAlign)
    const start = -addressOf(memory) & (tensorMapAlign - 1)
    const view = new DataView(memory, start)
    this.#view = view
    this.#address = addressOf(memory) + start
    program.block.forEach((threads, i) => {
      view.setUint32(offset.block + 4 * i, threads, true)
    })
    view.setUint32(offset.shared, program.sharedBytes, true)
    this.#pointers = this.#address + pointers
    offsets.forEach((at, i) => {
      setU64(view, pointers + 8 * i, this.#address + offset.args + at)
    })
    if (shape.overlap ?? program.overlaps) this.#overlap()
    this.setGrid(shape.grid)
    args.forEach((value, i) => {
      this.setArgument(i, value)
    })
  }

  run(stream?: Stream): void {
    const { context } = this.fn
    const on = stream ? streamOf(context, stream) : this.#defaultStream
    const { handle } = on
    if (on !== this.#stream) {
      setU64(this.#view, offset.stream, handle)
      this.#stream = on
    }
    const address = this.#address
    const result = context.enter().cuLaunchKernelEx(address, this.fn.handle, this.#pointers, 0)
    if (result !== 0) context.fail(result, `launching kernel ${this.fn.program.name}`, this.fn)
    on.note(this.fn)
  }

  /** Lets the launch begin before its predecessor has ended. */
  #overlap(): void {
    if (!this.fn.program.overlaps)
      throw this.#refused('cannot overlap its predecessor: it does not call waitForPrevious()')
    setU64(this.#view, offset.attributes, this.#address + offset.attribute)
    this.#view.setUint32(offset.attributeCount, 1, true)
    this.#view.setUint32(offset.attribute, overlapAttribute, true)
    this.#view.setUint32(offset.attribute + 8, 1, true)
  }

  setArgument(index: number, value: LaunchArgument): void {
    const { params } = this.fn.program
    const param = params[index]
    if (!param) throw this.#refused(`has no argument ${index}`)
    const at = offset.args + this.#offsets[index]!
    const { kind, name } = param
    if (kind === 'tensorMap') {
      if (typeof value === 'number') throw this.#refused(`takes a tensor map for ${name}, not a number`)
      encodeTensorMap(this.fn, name, this.#address + at, value)
    } else {
      if (typeof value !== 'number') throw this.#refused(`takes a number for ${name}, not a tensor map`)
      if (kind === 'tensor') setU64(this.#view, at, value)
      else if (kind === 'dim' || param.dtype === 'i32') this.#view.setInt32(at, value, true)
      else if (param.dtype === 'u32') this.#view.setUint32(at, value, true)
      else this.#view.setFloat32(at, value, true)
    }
  }

  setGrid(grid: readonly [number, number, number]): void {
    const { cluster } = this.fn.program
    if (grid[0] % cluster !== 0)
      throw this.#refused(
        `has clusters of ${cluster} CTAs, and a grid of ${grid.join(' x ')} is no multiple along x`,
      )
    this.#view.setUint32(offset.grid, grid[0], true)
    this.#view.setUint32(offset.grid + 4, grid[1], true)
    this.#view.setUint32(offset.grid + 8, grid[2], true)
  }

  #refused(why: string): DeviceError {
    return new DeviceError('INVALID_LAUNCH', `kernel ${this.fn.program.name} ${why}`, this.fn.where)
  }
}
