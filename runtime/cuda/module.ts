import type { Program } from '../../codegen/program.ts'
import { wgmmaFault } from '../../codegen/ptx/advisories.ts'
import { ptxStart } from '../../codegen/ptx/ts-location.ts'
import { DeviceError, type DeviceFunction } from '../device.ts'
import type { Context, Resource } from './context.ts'
import { handleIn } from './driver.ts'
import { cudaResult } from './errors.ts'
import { type Cubin, jitError, type LoadedModule } from './jit.ts'
import { loadPtx } from './linker.ts'

/** `CUfunction_attribute` values. */
const attribute = {
  maxThreadsPerBlock: 0,
  sharedBytes: 1,
  localBytes: 3,
  registers: 4,
  maxDynamicSharedBytes: 8,
} as const

/** Dynamic shared memory that a kernel may use without opting in. */
const sharedBytesWithoutOptIn = 48 * 1024

/** A program loaded into a context. */
export class CudaFunction implements DeviceFunction, Resource {
  readonly program: Program
  readonly context: Context
  readonly handle: number
  readonly resources: {
    readonly registers: number
    readonly localBytes: number
    readonly sharedBytes: number
  }
  /** What the driver's compiler noted: registers, spills, warnings. */
  readonly log: string
  /** For errors that concern the kernel as a whole: its name, and the line where it begins. */
  readonly where: { readonly kernel: string; readonly location?: string }
  readonly #module: number

  /** Takes the program compiled, or loaded; without it the driver compiles the program now, and everything waits. */
  constructor(context: Context, program: Program, sharedBytesPerBlock: number, made?: Cubin | LoadedModule) {
    this.context = context
    this.program = program
    const location = ptxStart(program)
    this.where = location ? { kernel: program.name, location } : { kernel: program.name }
    const { module, log } = made && 'module' in made ? made : loadModule(context, program, made)
    this.#module = module
    this.log = log
    context.own(this)
    try {
      checkSharedMemory(this, sharedBytesPerBlock)
      const fault = wgmmaFault(program, log)
      if (fault) throw new DeviceError('WGMMA_SERIALIZED', fault, this.where)
      this.handle = this.#find()
      this.resources = {
        registers: this.#attribute(attribute.registers),
        localBytes: this.#attribute(attribute.localBytes),
        sharedBytes: this.#attribute(attribute.sharedBytes) + program.sharedBytes,
      }
      this.#checkThreads()
      this.#optIn()
    } catch (error) {
      context.release(this)
      throw error
    }
  }

  release(): void {
    this.context.driver.cuModuleUnload(this.#module)
  }

  #find(): number {
    const out = new BigUint64Array(1)
    const name = Buffer.from(`${this.program.name}\0`)
    const result = this.context.driver.cuModuleGetFunction(out, this.#module, name)
    this.context.check(result, `finding the entry ${this.program.name} in its own PTX`, this)
    return handleIn(out)
  }

  #attribute(which: number): number {
    const out = new Int32Array(1)
    const result = this.context.driver.cuFuncGetAttribute(out, which, this.handle)
    this.context.check(result, `reading the attributes of kernel ${this.program.name}`, this)
    return out[0]!
  }

  #checkThreads(): void {
    const { block, name } = this.program
    const threads = block[0] * block[1] * block[2]
    const most = this.#attribute(attribute.maxThreadsPerBlock)
    if (threads > most)
      throw new DeviceError(
        'CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES',
        `kernel ${name} has ${threads} threads a CTA and, at ${this.resources.registers} registers each, ` +
          `${this.context.name} runs at most ${most}: use fewer threads or cap the registers`,
        this.where,
      )
  }

  #optIn(): void {
    const { sharedBytes, name } = this.program
    if (sharedBytes <= sharedBytesWithoutOptIn) return
    const result = this.context.driver.cuFuncSetAttribute(
      this.handle,
      attribute.maxDynamicSharedBytes,
      sharedBytes,
    )
    this.context.check(result, `giving kernel ${name} ${sharedBytes} bytes of shared memory`, this)
  }
}

function checkSharedMemory({ program, context, where }: CudaFunction, available: number): void {
  if (program.sharedBytes > available)
    throw new DeviceError(
      'CUDA_ERROR_INVALID_VALUE',
      `kernel ${program.name} needs ${program.sharedBytes} bytes of shared memory a CTA, and ${context.name} has ` +
        `${available}: use smaller tiles or fewer stages`,
      where,
    )
}

/** Hands the driver a cubin, or the PTX to compile here and now. */
function loadModule(context: Context, program: Program, cubin: Cubin | undefined): LoadedModule {
  const driver = context.enter()
  if (!cubin) {
    const { result, module, log, errorLog } = loadPtx(driver, program.ptx)
    if (module === undefined) throw jitError(context, program, result, errorLog)
    return { module, log }
  }
  const out = new BigUint64Array(1)
  const result = driver.cuModuleLoadDataEx(out, cubin.image, 0, 0, 0)
  if (result !== cudaResult.success) throw jitError(context, program, result, '')
  return { module: handleIn(out), log: cubin.log }
}
