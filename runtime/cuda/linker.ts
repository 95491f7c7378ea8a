import { addressOf, type Driver, handleIn, viewOf } from './driver.ts'
import { cudaResult } from './errors.ts'
import { JitOptions } from './jit-options.ts'

/** `CU_JIT_INPUT_PTX`. */
const ptxInput = 1

/** What the driver's compiler is given: the name of an entry, and its PTX. */
export interface LinkInput {
  readonly name: string
  readonly ptx: string
}

/** The `CUresult`; where it is a success, the image or the loaded module; and what the compiler wrote. */
export interface Compiled {
  readonly result: number
  readonly image?: Uint8Array
  /** A `CUmodule` of the current context. */
  readonly module?: number
  readonly log: string
  readonly errorLog: string
}

/**
 * Has the driver compile PTX for the GPU of the current context. The compiler's state belongs to the thread that begins
 * with it: a link that goes on elsewhere ends in a segmentation fault (driver 580), so this is one synchronous call.
 */
export function linkPtx(driver: Driver, { name, ptx }: LinkInput): Compiled {
  const options = new JitOptions()
  const text = Buffer.from(`${ptx}\0`)
  const label = Buffer.from(`${name}\0`)
  const out = new BigUint64Array(new ArrayBuffer(16))
  const ended = (result: number, image?: Uint8Array): Compiled => ({
    result,
    ...(image && { image }),
    log: options.log,
    errorLog: options.errorLog,
  })
  const created = driver.cuLinkCreate_v2(options.count, options.keys, options.values, out)
  if (created !== cudaResult.success) return ended(created)
  const state = handleIn(out)
  try {
    const texts = [addressOf(text), text.length, addressOf(label)] as const
    const added = driver.cuLinkAddData_v2(state, ptxInput, ...texts, 0, 0, 0)
    if (added !== cudaResult.success) return ended(added)
    const image = out.subarray(0, 1)
    const size = out.subarray(1)
    const completed = driver.cuLinkComplete(state, addressOf(image), addressOf(size))
    if (completed !== cudaResult.success) return ended(completed)
    // The image is the driver's own memory, which goes with the link.
    return ended(completed, new Uint8Array(viewOf(handleIn(image), handleIn(size))).slice())
  } finally {
    driver.cuLinkDestroy(state)
    // The driver has their addresses alone, so that they must be in use until here.
    for (const kept of [text, label]) kept.fill(0)
  }
}

/** Has the driver compile PTX and load it into the current context; its own cache keeps what it made. */
export function loadPtx(driver: Driver, ptx: string): Compiled {
  const options = new JitOptions()
  const out = new BigUint64Array(1)
  const text = Buffer.from(`${ptx}\0`)
  const result = driver.cuModuleLoadDataEx(out, text, options.count, options.keys, options.values)
  const { log, errorLog } = options
  return { result, ...(result === cudaResult.success && { module: handleIn(out) }), log, errorLog }
}
