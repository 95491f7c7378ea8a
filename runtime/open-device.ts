import { suggest } from '../codegen/suggest.ts'
import type { GpuDescription } from './cuda/properties.ts'
import { type Device, DeviceError } from './device.ts'

/** What there is to run on, and what `openDevice()` would take. */
export interface DeviceReport {
  readonly driver: {
    /** The library that was looked for. */
    readonly library: string
    /** CUDA version as `13.0`; `null` when the driver could not be started. */
    readonly version: string | null
    /** Why the driver could not be started. */
    readonly problem: string | null
  }
  readonly gpus: readonly GpuDescription[]
  readonly choice: DeviceChoice
}

export interface DeviceChoice {
  /** `cuda:0` or `emulator`. */
  readonly name: string
  /** One clause: `because …`. */
  readonly reason: string
}

/** A device name stands for nothing here. */
export class UnknownDeviceError extends Error {
  override readonly name = 'UnknownDeviceError'
}

/**
 * Opens `cuda:N`, `emulator`, or `emulator:checked`, which is slower by far and reports what a GPU forgives (accesses
 * out of bounds, races between barriers, memory read before it was written). Without a name it opens what
 * `QUATTUOR_DEVICE` says, or else the first GPU that kernels can be compiled for, or else the emulator, which it then
 * tells with its reason through `say` (default: standard error).
 *
 * Throws `UnknownDeviceError` for a name that does not exist, `DeviceError` when the device cannot be opened.
 */
export async function openDevice(
  name?: string,
  say: (line: string) => void = (line) => console.error(line),
): Promise<Device> {
  const wanted = name ?? (process.env.QUATTUOR_DEVICE || undefined)
  if (wanted === 'emulator' || wanted === 'emulator:checked') return openEmulator(wanted !== 'emulator')
  if (wanted !== undefined && !/^cuda:\d+$/.test(wanted)) throw await unknownDevice(wanted)
  if (wanted !== undefined) {
    const { openCuda } = await import('./cuda/device.ts')
    try {
      return openCuda(Number(wanted.slice('cuda:'.length)))
    } catch (error) {
      throw withAdvice(error)
    }
  }
  const { choice } = await describeDevices()
  if (choice.name !== 'emulator') return openDevice(choice.name)
  say(`quattuor: running on the PTX emulator, because ${choice.reason}`)
  return openEmulator(false)
}

/** An absent driver is no reason to do without a GPU that was asked for, but the emulator may do. */
const withAdvice = (error: unknown): unknown =>
  error instanceof DeviceError && error.code === 'NO_DRIVER'
    ? new DeviceError(error.code, `${error.message}; install NVIDIA's driver, or take the device 'emulator'`)
    : error

/** Looks at the driver and the GPUs without opening any. Never throws. */
export async function describeDevices(): Promise<DeviceReport> {
  const { defaultLibrary, loadDriver } = await import('./cuda/driver.ts')
  const { describeGpu, deviceCount, driverVersion, initialize } = await import('./cuda/properties.ts')
  const library = defaultLibrary()
  let version: string | null = null
  let problem: string | null = null
  let gpus: GpuDescription[] = []
  try {
    const driver = loadDriver(library)
    initialize(driver)
    version = driverVersion(driver)
    gpus = Array.from({ length: deviceCount(driver) }, (_, ordinal) => describeGpu(driver, ordinal))
  } catch (error) {
    problem = (error as Error).message
  }
  return { driver: { library, version, problem }, gpus, choice: choose(problem, gpus) }
}

function choose(problem: string | null, gpus: readonly GpuDescription[]): DeviceChoice {
  const wanted = process.env.QUATTUOR_DEVICE
  if (wanted) return { name: wanted, reason: `QUATTUOR_DEVICE is ${wanted}` }
  const gpu = gpus.find((candidate) => candidate.target)
  if (gpu) return { name: gpu.name, reason: `it is the first GPU that kernels can be compiled for` }
  if (problem) return { name: 'emulator', reason: problem }
  if (gpus.length === 0) return { name: 'emulator', reason: 'the driver sees no GPU' }
  const seen = gpus.map(
    (each) => `${each.name} (${each.description}) has compute capability ${each.capability}`,
  )
  return { name: 'emulator', reason: `no GPU is supported: ${seen.join(', ')}` }
}

async function unknownDevice(name: string): Promise<UnknownDeviceError> {
  const { gpus } = await describeDevices()
  const known = [...gpus.map((gpu) => gpu.name), 'emulator']
  const near = suggest(name, known)
  return new UnknownDeviceError(
    `there is no device '${name}'${near ? `; did you mean '${near}'?` : '.'} This machine has ${known.join(', ')}`,
  )
}

async function openEmulator(checks: boolean): Promise<Device> {
  const emulator = await import('./emulator/device.ts')
  return emulator.openEmulator({ checks })
}
