import type { Program } from '../../codegen/program.ts'
import type { Target } from '../../codegen/target.ts'
import {
  type Device,
  DeviceError,
  type DeviceFunction,
  type DeviceProperties,
  type DeviceRange,
  type LaunchArgument,
  type LaunchShape,
  type Stream,
} from '../device.ts'
import { CompileThreads } from './compile-threads.ts'
import { Context } from './context.ts'
import { type CubinCache, type CubinTarget, cubinCache } from './cubin-cache.ts'
import { loadDriver } from './driver.ts'
import { DriverError } from './errors.ts'
import { CudaGraph } from './graph.ts'
import { type Cubin, compileCubin, compileModule, isWholeProgram, type LoadedModule } from './jit.ts'
import { CudaLaunch } from './launch.ts'
import {
  CudaMemory,
  CudaPinnedMemory,
  copyMemory,
  fillMemory,
  memoryInfo,
  readMemory,
  Staging,
  writeMemory,
} from './memory.ts'
import { CudaFunction } from './module.ts'
import { describeGpu, deviceCount, type GpuDescription, initialize, requireTarget } from './properties.ts'
import { CudaEvent, CudaStream, streamOf } from './stream.ts'

export interface CudaOptions {
  /** The driver library; default: `CUDA_DRIVER` in the environment, else `libcuda.so.1`. */
  readonly library?: string
  /** Where compiled programs are kept; default: the cache of this process. */
  readonly cubins?: CubinCache
}

/** Opens a GPU by its number. Throws `DeviceError` when the driver or the GPU is not there. */
export function openCuda(ordinal = 0, options: CudaOptions = {}): CudaDevice {
  const driver = loadDriver(options.library)
  initialize(driver)
  const count = deviceCount(driver)
  if (!Number.isInteger(ordinal) || ordinal < 0 || ordinal >= count)
    throw new DeviceError(
      'NO_GPU',
      count === 0
        ? 'the driver sees no GPU'
        : `there is no cuda:${ordinal}: the driver sees ${count === 1 ? 'cuda:0 alone' : `cuda:0 to cuda:${count - 1}`}`,
    )
  const gpu = describeGpu(driver, ordinal)
  const target = requireTarget(gpu)
  const cubins = options.cubins ?? cubinCache()
  return new CudaDevice(new Context(driver, ordinal), gpu, target, cubins)
}

/** A GPU. Streams made here do not wait for each other or for the default stream; events order them. */
export class CudaDevice implements Device {
  readonly name: string
  readonly properties: DeviceProperties
  readonly target: Target
  readonly #context: Context
  readonly #stream: CudaStream
  readonly #functions = new Map<Program, CudaFunction>()
  readonly #loading = new Map<Program, Promise<CudaFunction>>()
  readonly #cubins: CubinCache
  readonly #cubinTarget: CubinTarget
  readonly #threads: CompileThreads
  readonly #staging: Staging

  constructor(context: Context, gpu: GpuDescription, target: Target, cubins: CubinCache) {
    this.name = context.name
    this.properties = gpu
    this.target = target
    this.#cubins = cubins
    this.#cubinTarget = { target: target.name, capability: gpu.capability, driver: gpu.driver }
    this.#context = context
    this.#threads = new CompileThreads(context.driver.library)
    this.#stream = new CudaStream(context)
    this.#staging = new Staging(context)
  }

  allocate(bytes: number): CudaMemory {
    return new CudaMemory(this.#context, bytes)
  }

  allocatePinned(bytes: number): CudaPinnedMemory {
    return new CudaPinnedMemory(this.#context, bytes)
  }

  freeBytes(): number {
    return memoryInfo(this.#context).free
  }

  write(dst: DeviceRange, src: ArrayBufferView, stream?: Stream): void {
    writeMemory(this.#context, dst, src, this.#on(stream))
  }

  read(dst: ArrayBufferView, src: DeviceRange, stream?: Stream): Promise<void> {
    return readMemory(this.#context, dst, src, this.#on(stream), this.#staging)
  }

  copy(dst: DeviceRange, src: DeviceRange, stream?: Stream): void {
    copyMemory(this.#context, dst, src, this.#on(stream))
  }

  fill(dst: DeviceRange, byte: number, stream?: Stream): void {
    fillMemory(this.#context, dst, byte, this.#on(stream))
  }

  load(program: Program): CudaFunction {
    return this.#functions.get(program) ?? this.#keep(program)
  }

  loadAll(programs: readonly Program[]): Promise<CudaFunction[]> {
    return Promise.all(programs.map((program) => this.#functions.get(program) ?? this.#loadOnce(program)))
  }

  #loadOnce(program: Program): Promise<CudaFunction> {
    let loading = this.#loading.get(program)
    if (!loading) {
      loading = this.#loadCached(program).finally(() => this.#loading.delete(program))
      this.#loading.set(program, loading)
    }
    return loading
  }

  async #loadCached(program: Program): Promise<CudaFunction> {
    const known = await this.#cubins.read(program, this.#cubinTarget)
    if (isWholeProgram(program)) return this.#loadWhole(program, known)
    if (known) {
      try {
        return this.#functions.get(program) ?? this.#keep(program, known)
      } catch (error) {
        // An image that the driver does not take is made anew.
        if (!(error instanceof DriverError) || error.fatal) throw error
      }
    }
    let cubin: Cubin
    try {
      cubin = await compileCubin(this.#context, this.#threads, program)
    } catch (error) {
      if (!(error instanceof DriverError) || error.fatal) throw error
      // What the driver's linker refuses its loader may take, or refuses with the better reason.
      return this.#functions.get(program) ?? this.#keep(program)
    }
    await this.#cubins.write(program, this.#cubinTarget, cubin)
    return this.#functions.get(program) ?? this.#keep(program, cubin)
  }

  /** The driver keeps such a program's code itself, and writes no log when it finds it: the log is what is kept here. */
  async #loadWhole(program: Program, known: Cubin | undefined): Promise<CudaFunction> {
    const { module, log: fresh } = await compileModule(this.#context, this.#threads, program)
    const log = fresh || (known?.log ?? '')
    if (!known) await this.#cubins.write(program, this.#cubinTarget, { image: new Uint8Array(0), log })
    const loaded = this.#functions.get(program)
    if (!loaded) return this.#keep(program, { module, log })
    this.#context.enter().cuModuleUnload(module)
    return loaded
  }

  #keep(program: Program, made?: Cubin | LoadedModule): CudaFunction {
    const fn = new CudaFunction(this.#context, program, this.properties.sharedBytesPerBlock, made)
    this.#functions.set(program, fn)
    return fn
  }

  prepareLaunch(fn: DeviceFunction, launch: LaunchShape, args: readonly LaunchArgument[]): CudaLaunch {
    if (!(fn instanceof CudaFunction) || fn.context !== this.#context)
      throw new DeviceError('WRONG_DEVICE', `kernel ${fn.program.name} was not loaded on ${this.name}`)
    return new CudaLaunch(fn, launch, args, this.#stream)
  }

  createStream(): CudaStream {
    return new CudaStream(this.#context)
  }

  createEvent(): CudaEvent {
    return new CudaEvent(this.#context, this.#stream)
  }

  capture(enqueue: (stream: Stream) => void): CudaGraph {
    return new CudaGraph(this.#context, enqueue, this.#stream)
  }

  synchronize(): Promise<void> {
    return this.#context.synchronize()
  }

  /** Waits for what runs; a fault that surfaces now has no one to go to and is dropped with the context. */
  async close(): Promise<void> {
    if (this.#context.closed) return
    await Promise.allSettled(this.#loading.values())
    await this.synchronize().catch(() => {})
    this.#context.close()
  }

  #on(stream: Stream | undefined): CudaStream {
    return stream ? streamOf(this.#context, stream) : this.#stream
  }
}
