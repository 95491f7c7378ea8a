import type { Program } from '../../codegen/program.ts'
import { ptxLocation } from '../../codegen/ptx/ts-location.ts'
import type { Context } from './context.ts'
import { addressOf, type Driver, handleIn, viewOf } from './driver.ts'
import { cudaResult, DriverError } from './errors.ts'

/** `CUjit_option` values. */
const jitOption = {
  infoLog: 3,
  infoLogBytes: 4,
  errorLog: 5,
  errorLogBytes: 6,
  verboseLog: 12,
  lineInfo: 13,
} as const

/** `CU_JIT_INPUT_PTX`. */
const ptxInput = 1

const logBytes = 16 * 1024

/** What the driver's compiler made of a program. */
export interface Cubin {
  readonly image: Uint8Array
  /** What it noted: registers, spills, warnings. */
  readonly log: string
}

/** The options of the driver's compiler, in memory that the driver may use for as long as this object is kept. */
export class JitOptions {
  readonly count: number
  readonly #keys: Int32Array
  readonly #values: BigUint64Array
  readonly #info = new Uint8Array(logBytes)
  readonly #errors = new Uint8Array(logBytes)

  constructor() {
    const options: [number, bigint][] = [
      [jitOption.infoLog, BigInt(addressOf(this.#info))],
      [jitOption.infoLogBytes, BigInt(logBytes)],
      [jitOption.errorLog, BigInt(addressOf(this.#errors))],
      [jitOption.errorLogBytes, BigInt(logBytes)],
      [jitOption.verboseLog, 1n],
      [jitOption.lineInfo, 1n],
    ]
    this.count = options.length
    // Short arrays live in buffers of their own: V8 would keep and move them in its heap.
    this.#keys = new Int32Array(new ArrayBuffer(4 * options.length))
    this.#values = new BigUint64Array(new ArrayBuffer(8 * options.length))
    options.forEach(([key, value], i) => {
      this.#keys[i] = key
      this.#values[i] = value
    })
  }

  get keys(): number {
    return addressOf(this.#keys)
  }

  get values(): number {
    return addressOf(this.#values)
  }

  get log(): string {
    return textOf(this.#info)
  }

  get errorLog(): string {
    return textOf(this.#errors)
  }
}

/**
 * Has the driver compile a program for the GPU of a context, on a thread of the pool: several run at once, and the event
 * loop goes on. Throws `DriverError` with the compiler's log and the TypeScript line of the first error.
 */
export async function compileCubin(context: Context, program: Program): Promise<Cubin> {
  const driver = context.enter()
  const options = new JitOptions()
  const text = Buffer.from(`${program.ptx}\0`)
  const name = Buffer.from(`${program.name}\0`)
  const out = new BigUint64Array(new ArrayBuffer(16))
  const check = (result: number) => {
    if (result !== cudaResult.success) throw jitError(context, program, result, options)
  }
  check(driver.cuLinkCreate_v2(options.count, options.keys, options.values, out))
  const state = handleIn(out)
  try {
    check(
      await onThread(
        context,
        [state, ptxInput, addressOf(text), text.length, addressOf(name), 0, 0, 0],
        driver.wait.linkAddData,
        driver.cuLinkAddData_v2,
      ),
    )
    const image = out.subarray(0, 1)
    const size = out.subarray(1)
    check(
      await onThread(
        context,
        [state, addressOf(image), addressOf(size)],
        driver.wait.linkComplete,
        driver.cuLinkComplete,
      ),
    )
    // The driver's own memory, which goes with the link.
    const made = new Uint8Array(viewOf(handleIn(image), handleIn(size))).slice()
    return { image: made, log: options.log }
  } finally {
    driver.cuLinkDestroy(state)
    // The driver has their addresses alone, so that they must be in use until here.
    for (const kept of [text, name]) kept.fill(0)
  }
}

/** Calls on a thread of the pool; where the driver wants a context on the calling thread, here after all. */
async function onThread<A extends number[]>(
  context: Context,
  args: A,
  elsewhere: (...args: A) => Promise<number>,
  here: Driver[keyof Driver] & ((...args: A) => number),
): Promise<number> {
  const result = await elsewhere(...args)
  if (result !== cudaResult.invalidContext) return result
  context.enter()
  return here(...args)
}

/** The error of a program that the driver's compiler refused. A fault of an earlier kernel may surface here: throws. */
export function jitError(
  context: Context,
  program: Program,
  result: number,
  options: JitOptions,
): DriverError {
  const log = options.errorLog
  const line = /line (\d+); error/.exec(log)?.[1]
  const location = line ? ptxLocation(program, Number(line)) : undefined
  const error = new DriverError(
    context.driver,
    result,
    `the driver cannot load kernel ${program.name}${location ? `, at ${location}` : ''}`,
    { kernel: program.name, ...(location ? { location } : {}), log },
  )
  if (error.fatal) context.fail(result, `loading kernel ${program.name}`)
  return error
}

/** The text up to the terminating zero. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return Buffer.from(bytes.buffer, 0, end < 0 ? bytes.length : end)
    .toString('utf8')
    .trim()
}
