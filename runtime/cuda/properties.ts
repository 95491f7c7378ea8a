import { type Target, type TargetName, targets } from '../../codegen/target.ts'
import { DeviceError, type DeviceProperties } from '../device.ts'
import { type Driver, handleIn } from './driver.ts'
import { cudaResult, DriverError } from './errors.ts'

/** `CUdevice_attribute` values. */
const attribute = {
  multiprocessors: 16,
  l2Bytes: 38,
  capabilityMajor: 75,
  capabilityMinor: 76,
  sharedBytesPerBlock: 97,
} as const

/** A GPU as the driver describes it, without opening it. */
export interface GpuDescription extends DeviceProperties {
  /** `cuda:0`. */
  readonly name: string
  /** Compute capability as `9.0`. */
  readonly capability: string
  /** `null` when kernels cannot be compiled for it. */
  readonly target: Target | null
}

/** Starts the driver; cheap when it runs already. */
export function initialize(driver: Driver): void {
  check(driver, driver.cuInit(0), 'starting the CUDA driver')
}

/** The CUDA version that the driver supports, as `13.0`. */
export function driverVersion(driver: Driver): string {
  const version = readInt(driver, (out) => driver.cuDriverGetVersion(out), 'asking for the driver version')
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`
}

/** How many GPUs the driver shows. */
export function deviceCount(driver: Driver): number {
  return readInt(driver, (out) => driver.cuDeviceGetCount(out), 'counting GPUs')
}

/** Describes GPU number `ordinal`, which must exist. */
export function describeGpu(driver: Driver, ordinal: number): GpuDescription {
  const name = `cuda:${ordinal}`
  const asking = `asking ${name} for its properties`
  const id = readInt(driver, (out) => driver.cuDeviceGet(out, ordinal), asking)
  const get = (which: number) => readInt(driver, (out) => driver.cuDeviceGetAttribute(out, which, id), asking)
  const text = new Uint8Array(256)
  check(driver, driver.cuDeviceGetName(text, text.length, id), asking)
  const total = new BigUint64Array(1)
  check(driver, driver.cuDeviceTotalMem_v2(total, id), asking)
  const major = get(attribute.capabilityMajor)
  const minor = get(attribute.capabilityMinor)
  return {
    name,
    description: Buffer.from(text).toString('utf8', 0, text.indexOf(0)),
    capability: `${major}.${minor}`,
    target: targetFor(major * 10 + minor),
    multiprocessors: get(attribute.multiprocessors),
    memoryBytes: handleIn(total),
    l2Bytes: get(attribute.l2Bytes),
    sharedBytesPerBlock: get(attribute.sharedBytesPerBlock),
    driver: driverVersion(driver),
  }
}

/**
 * The target whose programs run on a compute capability. Programs for 8.x run on later members of 8.x; those for 9.0 and
 * above use instructions of that architecture alone.
 */
function targetFor(capability: number): Target | null {
  const name: TargetName | undefined = Object.values(targets)
    .filter((target) =>
      capability < 90 ? target.capability <= capability : target.capability === capability,
    )
    .at(-1)?.name
  return name ? targets[name] : null
}

/** The target of a GPU. Throws `DeviceError` for one that kernels cannot be compiled for. */
export function requireTarget(gpu: GpuDescription): Target {
  if (gpu.target) return gpu.target
  const known = Object.values(targets).map(
    (target) => `${Math.floor(target.capability / 10)}.${target.capability % 10}`,
  )
  throw new DeviceError(
    'UNSUPPORTED_GPU',
    `${gpu.name} (${gpu.description}) has compute capability ${gpu.capability}; supported are ${known.join(', ')}`,
  )
}

function check(driver: Driver, result: number, action: string): void {
  if (result !== cudaResult.success) throw new DriverError(driver, result, action)
}

function readInt(driver: Driver, call: (out: Int32Array) => number, action: string): number {
  const out = new Int32Array(1)
  check(driver, call(out), action)
  return out[0]!
}
