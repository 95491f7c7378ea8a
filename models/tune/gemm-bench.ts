import { setTimeout } from 'node:timers/promises'
import type { Program } from '../../codegen/program.ts'
import type { Dims } from '../../dsl/kernel.ts'
import type { WeightFormatName } from '../../kernels/formats/index.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import { gemmKernel, type TileConstants } from '../../kernels/gemm/operands.ts'
import type { Device, DeviceFunction } from '../../runtime/device.ts'
import { deviceSlug } from '../../runtime/device-slug.ts'
import { EmulatorDevice } from '../../runtime/emulator/device.ts'
import { type Launch, prepareProgram } from '../../runtime/kernel.ts'
import { describeDevices, openDevice } from '../../runtime/open-device.ts'
import { Tensor } from '../../runtime/tensor.ts'
import type { Bench, Candidate, DeviceFacts } from '../../runtime/tune/bench.ts'
import { estimateMicroseconds } from '../../runtime/tune/cost-model.ts'
import { type Replay, ReplayTimer, recordReplay, replayLaunches } from '../../runtime/tune/replay.ts'
import { median } from '../../runtime/tune/statistics.ts'
import { checkSample, type Sample, sampleProduct } from './gemm-check.ts'
import { DeviceOperands, type GemmLimits } from './gemm-operands.ts'
import { GemmPool } from './gemm-pool.ts'
import { gemmWork } from './gemm-work.ts'
import { sampledShape } from './sampled-shape.ts'

/** What the tuner's process is told of a product. */
export interface GemmProblem {
  readonly format: WeightFormatName
  /** The shapes that are to come. */
  readonly shapes: readonly GemmShape[]
}

/** Of what the L2 cache holds: so much lies between two readings of the same weights, as in a model. */
const rotation = 8
/**
 * From so many tokens on products take all the power that a GPU has, so that in turns one takes the time of those that need
 * more. After a rest they do not, and who is fastest then is fastest on end too (docs/decisions/042-last-waves-in-halves.md).
 */
const powerTokens = 1024
const restMs = 30
/** Bursts of each after rests, and replays of a burst, of which the first does not count. */
const bursts = 2
const burstReplays = 6
/** Launches that tell how long one takes. */
const probe = 3

/** Times products on a GPU, or counts what they do on the emulator. */
export async function openBench(name: string | undefined, problem: unknown): Promise<Bench> {
  const { format, shapes } = problem as GemmProblem
  const chosen = name ?? (await describeDevices()).choice.name
  // The emulator counts only where it checks.
  const device = await openDevice(chosen === 'emulator' ? 'emulator:checked' : chosen)
  const product = new Product(device, format)
  if (device instanceof EmulatorDevice) return new CountedBench(device, product) as Bench
  const limits = { shapes, rotationBytes: rotation * device.properties.l2Bytes }
  return new TimedBench(device, product, limits) as Bench
}

/** A product of one format on a device. */
export class Product {
  readonly device: Device
  readonly format: WeightFormatName
  #pool: GemmPool | undefined

  constructor(device: Device, format: WeightFormatName) {
    this.device = device
    this.format = format
  }

  /** Drawn when it is first needed: a rerun may have nothing to measure. */
  get pool(): GemmPool {
    this.#pool ??= new GemmPool(this.format)
    return this.#pool
  }

  sample(shape: GemmShape, operands: DeviceOperands): Sample {
    const sums = this.format === 'w4a8' ? operands.sums(shape.K) : undefined
    return sampleProduct(this.pool, this.format, shape, sums)
  }

  /** Binds a program to the operands of a shape. */
  bind(program: Program, operands: DeviceOperands, shape: GemmShape): Launch {
    const { grid } = gemmKernel(this.format).options
    return prepareProgram(
      this.device,
      program,
      (dims) => grid(dims, program.config),
      operands.arguments(shape, program.config as unknown as TileConstants),
    )
  }

  /** Runs a launch into poisoned output and compares a sample of it. Throws `WrongResult`. */
  async check(launch: Launch, operands: DeviceOperands, { N, M }: GemmShape, sample: Sample): Promise<void> {
    const { out } = operands.arguments({ N, M, K: launch.dims.K! })
    // As a 16-bit float, all ones are NaN.
    out!.fill(0xff)
    launch.run()
    const { rows } = sample
    const gathered = Tensor.allocate(this.device, 'f16', [rows.length, N])
    try {
      for (const [i, m] of rows.entries()) gathered.slice(i, i + 1).copyFrom(out!.slice(m, m + 1))
      checkSample(sample, (await gathered.read()) as Uint16Array, N)
    } finally {
      gathered.free()
    }
  }
}

interface Timed {
  readonly launch: Launch
  readonly replay: Replay
}

/**
 * Graphs of launches that take turns among copies of the weights, more of them than the L2 cache holds, as a model's layers
 * do. Activations and output stay where they are: they come from the kernel before.
 */
export class TimedBench implements Bench<Timed> {
  readonly device: DeviceFacts
  readonly #product: Product
  readonly #on: Device
  readonly #limits: GemmLimits
  readonly #timer: ReplayTimer
  #operands: DeviceOperands | undefined
  #cell: { readonly shape: GemmShape; readonly sample: Sample; readonly copies: number } | undefined
  /** The copy that the next graph begins with. */
  #next = 0

  constructor(device: Device, product: Product, limits: GemmLimits) {
    this.device = factsOf(device, true)
    this.#on = device
    this.#product = product
    this.#limits = limits
    this.#timer = new ReplayTimer(device)
  }

  load(programs: readonly Program[]): Promise<DeviceFunction[]> {
    return this.#on.loadAll(programs)
  }

  async open(dims: Dims): Promise<void> {
    const shape = shapeOf(dims)
    const { format, pool } = this.#product
    this.#operands ??= new DeviceOperands(this.#on, format, pool, this.#limits)
    const copies = this.#operands.copies(shape)
    this.#cell = { shape, copies, sample: this.#product.sample(shape, this.#operands) }
    this.#next = 0
  }

  async enter(program: Program): Promise<Timed> {
    const { shape, sample, copies } = this.#cell!
    const operands = this.#operands!
    const launch = this.#product.bind(program, operands, shape)
    await this.#product.check(launch, operands, shape, sample)
    const first = this.#next
    const run = (i: number, stream?: Parameters<Launch['run']>[0]) => {
      launch.set({ w: operands.weights(shape, (first + i) % copies) } as never)
      launch.run(stream)
    }
    const trial = recordReplay(this.#on, probe, run)
    // The first launch of a graph also puts it on the device.
    trial.graph.launch()
    const [microseconds] = await this.#timer.time([trial])
    trial.graph.destroy()
    const launches = replayLaunches(microseconds!, copies)
    this.#next = (first + launches) % copies
    const replay = recordReplay(this.#on, launches, run)
    replay.graph.launch()
    return { launch, replay }
  }

  sample(entries: readonly Timed[]): Promise<number[]> {
    return this.#timer.time(entries.map(({ replay }) => replay))
  }

  async sampleRested(entries: readonly Timed[]): Promise<number[] | undefined> {
    if (this.#cell!.shape.M < powerTokens) return undefined
    const times = entries.map((): number[] => [])
    for (let round = 0; round < bursts; round++) {
      for (const [i, { replay }] of entries.entries()) {
        await setTimeout(restMs)
        const [, ...burst] = await this.#timer.time(Array(burstReplays).fill(replay))
        times[i]!.push(median(burst))
      }
    }
    return times.map(median)
  }

  leave({ replay }: Timed): void {
    replay.graph.destroy()
  }

  async close(): Promise<void> {
    this.#timer.free()
    this.#operands?.free()
    await this.#on.close()
  }
}

/** Without a GPU: one tile runs on the emulator, and the cost model tells from its counts what the whole might take. */
class CountedBench implements Bench<number> {
  readonly device: DeviceFacts
  readonly #product: Product
  readonly #on: EmulatorDevice
  #shape: GemmShape | undefined

  constructor(device: EmulatorDevice, product: Product) {
    this.device = factsOf(device, false)
    this.#on = device
    this.#product = product
  }

  load(programs: readonly Program[]): Promise<DeviceFunction[]> {
    return this.#on.loadAll(programs)
  }

  async open(dims: Dims): Promise<void> {
    this.#shape = shapeOf(dims)
  }

  async enter(program: Program, { config }: Candidate): Promise<number> {
    const whole = this.#shape!
    const shape = sampledShape(config as unknown as TileConstants, whole)
    const { pool, format } = this.#product
    const operands = new DeviceOperands(this.#on, format, pool, { shapes: [shape], rotationBytes: 0 })
    try {
      const launch = this.#product.bind(program, operands, shape)
      this.#on.takeReports()
      await this.#product.check(launch, operands, shape, this.#product.sample(shape, operands))
      const counted = launch.grid.reduce((product, extent) => product * extent)
      return estimateMicroseconds({
        report: this.#on.takeReports()[0]!,
        counted,
        ctas: counted * Math.ceil(whole.N / shape.N) * Math.ceil(whole.M / shape.M),
        stretch: whole.K / shape.K,
        work: gemmWork(format, whole),
      })
    } finally {
      operands.free()
    }
  }

  async sample(entries: readonly number[]): Promise<readonly number[]> {
    return entries
  }

  leave(): void {}

  close(): Promise<void> {
    return this.#on.close()
  }
}

const shapeOf = (dims: Dims): GemmShape => ({ M: dims.M!, N: dims.N!, K: dims.K! })

const factsOf = (device: Device, measures: boolean): DeviceFacts => ({
  name: device.name,
  slug: deviceSlug(device),
  description: device.properties.description,
  target: device.target.name,
  driver: device.properties.driver,
  measures,
})
