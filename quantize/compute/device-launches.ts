import type { Kernel } from '../../dsl/kernel.ts'
import type { Device } from '../../runtime/device.ts'
import { type Arguments, type Launch, prepareProgram } from '../../runtime/kernel.ts'
import { loadProgram } from '../../runtime/program-cache.ts'

/** A kernel in a configuration, with a launch that serves all arguments. */
interface Prepared {
  readonly launch: Launch
  /** The CTAs of the next run, where the caller knows better than the kernel. */
  grid: readonly number[] | undefined
}

/** Kernels by their configuration, each prepared when it is first run. */
export class Launches {
  readonly #device: Device
  readonly #prepared = new Map<Kernel, Map<string, Prepared>>()

  constructor(device: Device) {
    this.#device = device
  }

  /** Enqueues a kernel. `grid` replaces its own for submatrices, whose extents no shape word has. */
  async run<A, C>(
    kernel: Kernel<A, C>,
    config: C,
    args: Arguments<A>,
    grid?: readonly number[],
  ): Promise<void> {
    const known = kernel as unknown as Kernel
    const configs = this.#prepared.get(known) ?? new Map<string, Prepared>()
    this.#prepared.set(known, configs)
    const key = JSON.stringify(config)
    const prepared = configs.get(key)
    if (prepared) {
      prepared.grid = grid
      prepared.launch.set(args as never)
      prepared.launch.run()
      return
    }
    const program = await loadProgram(kernel, config, this.#device.target)
    await this.#device.loadAll([program])
    const made: { grid: readonly number[] | undefined; launch?: Launch } = { grid }
    const launch = prepareProgram(
      this.#device,
      program,
      (dims) => made.grid ?? kernel.options.grid(dims, config),
      args,
    ) as Launch
    made.launch = launch
    configs.set(key, made as Prepared)
    launch.run()
  }
}
