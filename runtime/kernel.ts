import type { Program } from '../codegen/program.ts'
import type { In, InOut, Out } from '../dsl/index.ts'
import type { Dims, Kernel } from '../dsl/kernel.ts'
import {
  type Argument,
  ArgumentError,
  type BoundDims,
  bindDims,
  checkArgument,
  checkNames,
} from './arguments.ts'
import type { Device, DeviceFunction, LaunchArgument, LaunchShape, PreparedLaunch, Stream } from './device.ts'
import { loadProgram } from './program-cache.ts'
import type { Tensor } from './tensor.ts'
import { sameArgument, tensorMapFor } from './tensor-map.ts'

/** The layout tag of a tensor parameter's type. */
type TagOf<P> =
  P extends In<infer _T, infer _S, infer L>
    ? L
    : P extends Out<infer _T, infer _S, infer L>
      ? L
      : P extends InOut<infer _T, infer _S, infer L>
        ? L
        : string

/** What a launch takes for each argument of a kernel: a number for a scalar, a tensor of its layout otherwise. */
export type Arguments<A> = {
  readonly [K in keyof A]: NonNullable<A[K]> extends number ? number : Tensor<TagOf<NonNullable<A[K]>>>
}

/** How a launch runs: see `LaunchShape`. */
export type LaunchOptions = Pick<LaunchShape, 'overlap'>

/** A kernel bound to a device, a configuration and arguments, ready to run any number of times. */
export interface Launch<A = unknown> {
  readonly program: Program
  readonly fn: DeviceFunction
  /** The extents of the shape words, static ones included. */
  readonly dims: Dims
  readonly grid: readonly [number, number, number]
  /** Enqueues the kernel. Costs no allocation and no check: those are done when arguments change. */
  run(stream?: Stream): void
  /** Replaces arguments: one, or several at once where a shape word changes in all of them. Checks as `prepare` does. */
  set<K extends keyof A & string>(name: K, value: Arguments<A>[K]): void
  set(args: Partial<Arguments<A>>): void
  /**
   * Runs on the first rows of the tensors: `resize({ T: 3 })` leaves tensors of `T` = 64 rows in place and launches
   * for three. Only for words that lead row-major tensors; holds until the next `resize`, which replaces it.
   */
  resize(sizes: Readonly<Record<string, number>>): void
}

/**
 * Compiles (or takes from the cache) a kernel for a configuration, checks its arguments and packs them.
 *
 * Throws `ArgumentError` when an argument does not fit, `Diagnostic` when the kernel does not compile, `DeviceError`
 * when the device refuses it.
 */
export async function prepare<A, C>(
  device: Device,
  kernel: Kernel<A, C>,
  config: C,
  args: Arguments<A>,
  options: LaunchOptions = {},
): Promise<Launch<A>> {
  const program = await loadProgram(kernel, config, device.target)
  await device.loadAll([program])
  return prepareProgram(device, program, (dims) => kernel.options.grid(dims, config), args, options)
}

/** `prepare` for a program at hand: `grid` gives its CTAs from the extents of its shape words. */
export function prepareProgram<A>(
  device: Device,
  program: Program,
  grid: (dims: Dims) => readonly number[],
  args: Arguments<A>,
  options: LaunchOptions = {},
): Launch<A> {
  return new BoundLaunch<A>(device, program, grid, args as Readonly<Record<string, Argument>>, options)
}

class BoundLaunch<A> implements Launch<A> {
  readonly program: Program
  readonly fn: DeviceFunction
  dims: Dims
  grid: readonly [number, number, number]
  readonly #device: Device
  readonly #gridOf: (dims: Dims) => readonly number[]
  readonly #prepared: PreparedLaunch
  #args: Map<string, Argument>
  /** What the launch has for each parameter. */
  #values: readonly LaunchArgument[]
  #sizes: Readonly<Record<string, number>> = {}

  constructor(
    device: Device,
    program: Program,
    grid: (dims: Dims) => readonly number[],
    args: Readonly<Record<string, Argument>>,
    options: LaunchOptions,
  ) {
    checkNames(program, args, true)
    for (const param of program.params) checkArgument(program, param, args[param.name], device)
    this.program = program
    this.#device = device
    this.#gridOf = grid
    this.#args = new Map(Object.entries(args))
    this.dims = bindDims(program, this.#args)
    this.grid = checkGrid(program, grid(this.dims), this.dims)
    this.fn = device.load(program)
    this.#values = this.#valuesFor(this.#args, this.dims)
    this.#prepared = device.prepareLaunch(this.fn, { ...options, grid: this.grid }, this.#values)
  }

  run(stream?: Stream): void {
    this.#prepared.run(stream)
  }

  set(first: string | Readonly<Record<string, unknown>>, value?: unknown): void {
    const changes = (typeof first === 'string' ? { [first]: value } : first) as Record<string, Argument>
    checkNames(this.program, changes, false)
    const args = new Map(this.#args)
    for (const param of this.program.params) {
      const change = changes[param.name]
      if (change === undefined) continue
      checkArgument(this.program, param, change, this.#device)
      args.set(param.name, change)
    }
    this.#rebind(args, this.#sizes)
  }

  resize(sizes: Readonly<Record<string, number>>): void {
    this.#rebind(this.#args, { ...sizes })
  }

  /** Takes over new arguments and sizes, or throws and changes nothing. */
  #rebind(args: Map<string, Argument>, sizes: Readonly<Record<string, number>>): void {
    const dims = bindDims(this.program, args, sizes)
    const grid = checkGrid(this.program, this.#gridOf(dims), dims)
    const values = this.#valuesFor(args, dims)
    values.forEach((value, i) => {
      if (!sameArgument(value, this.#values[i]!)) this.#prepared.setArgument(i, value)
    })
    this.#values = values
    this.#args = args
    this.#sizes = sizes
    this.dims = dims
    if (grid.some((extent, i) => extent !== this.grid[i])) this.#prepared.setGrid(grid)
    this.grid = grid
  }

  /** One value for each parameter: an address, a scalar, an extent or a tensor map. */
  #valuesFor(args: ReadonlyMap<string, Argument>, dims: BoundDims): LaunchArgument[] {
    return this.program.params.map((param) => {
      if (param.kind === 'tensorMap')
        return tensorMapFor(this.program, param, args.get(param.tensor) as Tensor, dims)
      if (param.kind === 'dim') {
        const extent = dims[param.name]
        if (extent === undefined)
          throw new ArgumentError(this.program.name, param.name, 'no tensor argument has this shape word')
        return extent
      }
      const value = args.get(param.name)!
      return typeof value === 'number' ? value : value.address
    })
  }
}

/** CUDA's bounds on the CTAs of a launch. */
function checkGrid(program: Program, grid: readonly number[], dims: Dims): readonly [number, number, number] {
  const [x = 1, y = 1, z = 1] = grid
  const limits = [2 ** 31 - 1, 65535, 65535] as const
  const bad = [x, y, z].findIndex((n, i) => !Number.isInteger(n) || n < 1 || n > limits[i]!)
  if (bad >= 0 || grid.length > 3) {
    const sizes = Object.entries(dims).map(([word, extent]) => `${word} = ${extent}`)
    throw new ArgumentError(
      program.name,
      'grid',
      `expected one to three whole numbers from 1 to ${limits[Math.max(bad, 0)]}, ` +
        `got [${grid.join(', ')}] for ${sizes.join(', ') || 'no shape words'}`,
    )
  }
  if (x % program.cluster !== 0)
    throw new ArgumentError(
      program.name,
      'grid',
      `expected a multiple of the ${program.cluster} CTAs of a cluster along x, got [${grid.join(', ')}]`,
    )
  return [x, y, z]
}
