import type { Program } from '../../codegen/program.ts'
import { DeviceError, type DeviceFunction } from '../device.ts'
import type { Context, Resource } from './context.ts'
import { addressOf, handleIn } from './driver.ts'
import { DriverError } from './errors.ts'
import { ptxLocation, ptxStart } from './ptx-location.ts'

/** `CUjit_option` values. */
const jitOption = {
  infoLog: 3,
  infoLogBytes: 4,
  errorLog: 5,
  errorLogBytes: 6,
  verboseLog: 12,
  lineInfo: 13,
} as const

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

const logBytes = 16 * 1024

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

  constructor(context: Context, program: Program, sharedBytesPerBlock: number) {
    this.context = context
    this.program = program
    const location = ptxStart(program)
    this.where = location ? { kernel: program.name, location } : { kernel: program.name }
    checkSharedMemory(this, sharedBytesPerBlock)
    const { module, log } = loadModule(context, program)
    this.#module = module
    this.log = log
    context.own(this)
    try {
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

/** Has the driver compile the PTX; on failure throws with its log and the TypeScript line of the first error. */
function loadModule(context: Context, program: Program): { module: number; log: string } {
  const info = new Uint8Array(logBytes)
  const errors = new Uint8Array(logBytes)
  const options: [number, bigint][] = [
    [jitOption.infoLog, BigInt(addressOf(info))],
    [jitOption.infoLogBytes, BigInt(logBytes)],
    [jitOption.errorLog, BigInt(addressOf(errors))],
    [jitOption.errorLogBytes, BigInt(logBytes)],
    [jitOption.verboseLog, 1n],
    [jitOption.lineInfo, 1n],
  ]
  const keys = Int32Array.from(options, ([key]) => key)
  const values = BigUint64Array.from(options, ([, value]) => value)
  const out = new BigUint64Array(1)
  const text = Buffer.from(`${program.ptx}\0`)
  const result = context.enter().cuModuleLoadDataEx(out, text, options.length, keys, values)
  const log = textOf(info)
  if (result === 0) return { module: handleIn(out), log }
  const errorLog = textOf(errors)
  const line = /line (\d+); error/.exec(errorLog)?.[1]
  const location = line ? ptxLocation(program, Number(line)) : undefined
  const error = new DriverError(
    context.driver,
    result,
    `the driver cannot load kernel ${program.name}${location ? `, at ${location}` : ''}`,
    { kernel: program.name, ...(location ? { location } : {}), log: errorLog },
  )
  // A fault of an earlier kernel may surface here.
  if (error.fatal) context.fail(result, `loading kernel ${program.name}`)
  throw error
}

/** The text up to the terminating zero. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return Buffer.from(bytes.buffer, 0, end < 0 ? bytes.length : end)
    .toString('utf8')
    .trim()
}
