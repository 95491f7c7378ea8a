import { DeviceError } from '../device.ts'
import { type Driver, stringAt } from './driver.ts'

/** `CUresult` values that the runtime tells apart. */
export const cudaResult = {
  success: 0,
  outOfMemory: 2,
  invalidContext: 201,
  notReady: 600,
} as const

/** Errors after which the context answers nothing else: the process must give it up. */
const fatalResults = new Set([
  214, 220, 226, 700, 702, 704, 709, 710, 714, 715, 716, 717, 718, 719, 721, 722, 723, 999,
])

/** What to do next, for the errors where the driver's own text does not say it. */
const advice: Readonly<Record<number, string>> = {
  100: 'check that nvidia-smi lists a GPU and that CUDA_VISIBLE_DEVICES does not hide it',
  209: 'the program was compiled for another GPU',
  218: 'the log below names the PTX line',
  222: 'install a newer NVIDIA driver',
  700: 'run it on the emulator (QUATTUOR_DEVICE=emulator), which names the line',
  701: 'the kernel needs more registers or threads than a multiprocessor has',
  716: 'run it on the emulator (QUATTUOR_DEVICE=emulator), which names the line',
  719: 'run it on the emulator (QUATTUOR_DEVICE=emulator), which names the line',
  803: 'the driver library and the kernel module differ: restart the machine',
  804: 'the driver library and the kernel module differ: restart the machine',
}

/** libcuda returned an error. */
export class DriverError extends DeviceError {
  override readonly name = 'DriverError'
  /** The `CUresult`. */
  readonly result: number
  /** Whether the context is lost: every later call fails, and only a new process can use the GPU again. */
  readonly fatal: boolean
  /** What the driver's compiler wrote, for errors of loading. */
  readonly log: string | undefined
  constructor(
    driver: Driver,
    result: number,
    action: string,
    where: { kernel?: string; location?: string; log?: string } = {},
  ) {
    const code = errorName(driver, result)
    const hint = advice[result]
    const log = where.log?.trim()
    super(
      code,
      `${action}: ${errorText(driver, result)} (${code})${hint ? `; ${hint}` : ''}${log ? `\n${log}` : ''}`,
      where,
    )
    this.result = result
    this.fatal = fatalResults.has(result)
    this.log = log
  }
}

/** `CUDA_ERROR_OUT_OF_MEMORY`, as the driver names it. */
function errorName(driver: Driver, result: number): string {
  const out = new BigUint64Array(1)
  return driver.cuGetErrorName(result, out) === 0 && out[0] !== 0n ? stringAt(out) : `CUDA_ERROR_${result}`
}

function errorText(driver: Driver, result: number): string {
  const out = new BigUint64Array(1)
  return driver.cuGetErrorString(result, out) === 0 && out[0] !== 0n ? stringAt(out) : 'unknown error'
}
