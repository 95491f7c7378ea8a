import koffi, { type LibraryHandle } from 'koffi'
import { DeviceError } from '../device.ts'

/**
 * The functions of libcuda that we call, as koffi sees them: every result is a `CUresult`, and an argument is one of
 *
 * - `i32`, `u32`, `u64`: a number (`size_t`, flags and handles, which fit 53 bits, are `u64`);
 * - `memory`: a typed array, passed in place, which the driver reads or writes during the call (or later, for copies
 *   from and to pinned memory).
 */
const signatures = {
  cuInit: ['u32'],
  cuDriverGetVersion: ['memory'],
  cuGetErrorName: ['i32', 'memory'],
  cuGetErrorString: ['i32', 'memory'],
  cuDeviceGetCount: ['memory'],
  cuDeviceGet: ['memory', 'i32'],
  cuDeviceGetName: ['memory', 'i32', 'i32'],
  cuDeviceTotalMem_v2: ['memory', 'i32'],
  cuDeviceGetAttribute: ['memory', 'i32', 'i32'],
  cuDevicePrimaryCtxRetain: ['memory', 'i32'],
  cuDevicePrimaryCtxRelease_v2: ['i32'],
  cuCtxSetCurrent: ['u64'],
  cuMemGetInfo_v2: ['memory', 'memory'],
  cuMemAlloc_v2: ['memory', 'u64'],
  cuMemFree_v2: ['u64'],
  cuMemHostAlloc: ['memory', 'u64', 'u32'],
  cuMemFreeHost: ['u64'],
  cuMemcpyHtoDAsync_v2: ['u64', 'memory', 'u64', 'u64'],
  cuMemcpyDtoHAsync_v2: ['memory', 'u64', 'u64', 'u64'],
  cuMemcpyDtoDAsync_v2: ['u64', 'u64', 'u64', 'u64'],
  cuMemsetD8Async: ['u64', 'u8', 'u64', 'u64'],
  cuLinkCreate_v2: ['u32', 'u64', 'u64', 'memory'],
  cuLinkAddData_v2: ['u64', 'i32', 'u64', 'u64', 'u64', 'u32', 'u64', 'u64'],
  cuLinkComplete: ['u64', 'u64', 'u64'],
  cuLinkDestroy: ['u64'],
  cuModuleLoadDataEx: ['memory', 'memory', 'u32', 'u64', 'u64'],
  cuModuleUnload: ['u64'],
  cuModuleGetFunction: ['memory', 'u64', 'memory'],
  cuFuncGetAttribute: ['memory', 'i32', 'u64'],
  cuFuncSetAttribute: ['u64', 'i32', 'i32'],
  cuTensorMapEncodeTiled: [
    'u64',
    'i32',
    'u32',
    'u64',
    'u64',
    'u64',
    'u64',
    'u64',
    'i32',
    'i32',
    'i32',
    'i32',
  ],
  cuLaunchKernelEx: ['u64', 'u64', 'u64', 'u64'],
  cuStreamCreate: ['memory', 'u32'],
  cuStreamDestroy_v2: ['u64'],
  cuStreamQuery: ['u64'],
  cuStreamSynchronize: ['u64'],
  cuStreamWaitEvent: ['u64', 'u64', 'u32'],
  cuStreamBeginCapture_v2: ['u64', 'i32'],
  cuStreamEndCapture: ['u64', 'memory'],
  cuEventCreate: ['memory', 'u32'],
  cuEventDestroy_v2: ['u64'],
  cuEventRecord: ['u64', 'u64'],
  cuEventQuery: ['u64'],
  cuEventSynchronize: ['u64'],
  cuEventElapsedTime: ['memory', 'u64', 'u64'],
  cuGraphInstantiateWithFlags: ['memory', 'u64', 'u64'],
  cuGraphLaunch: ['u64', 'u64'],
  cuGraphDestroy: ['u64'],
  cuGraphExecDestroy: ['u64'],
} as const

const nativeTypes = {
  u8: 'uint8_t',
  i32: 'int32_t',
  u32: 'uint32_t',
  u64: 'uint64_t',
  memory: 'void *',
} as const

type ArgumentKind = keyof typeof nativeTypes
type Memory = NodeJS.TypedArray
type ArgumentsOf<K extends readonly ArgumentKind[]> = {
  -readonly [I in keyof K]: K[I] extends 'memory' ? Memory : number
}
type Functions = {
  readonly [F in keyof typeof signatures]: (...args: ArgumentsOf<(typeof signatures)[F]>) => number
}

/** Functions that take long, called on a thread of the pool, where no context is current. */
interface Waits {
  streamSynchronize: Waiting<'cuStreamSynchronize'>
  eventSynchronize: Waiting<'cuEventSynchronize'>
}
type Waiting<F extends keyof Functions> = (...args: Parameters<Functions[F]>) => Promise<number>

/** libcuda, loaded. Functions return the `CUresult`; `Context.check` turns it into an error. */
export interface Driver extends Functions {
  /** The library's file, as it was asked for. */
  readonly library: string
  readonly wait: Waits
  /** The context that is current on this thread, so that setting it again can be left out. */
  current: number
}

/** The library that `openCuda` loads: `CUDA_DRIVER` in the environment, or the driver's own. */
export const defaultLibrary = (): string => process.env.CUDA_DRIVER || 'libcuda.so.1'

const loaded = new Map<string, Driver>()

/** Loads libcuda (once per file). Throws `DeviceError` when it is absent or too old. */
export function loadDriver(library = defaultLibrary()): Driver {
  let driver = loaded.get(library)
  if (!driver) {
    driver = bind(library)
    loaded.set(library, driver)
  }
  return driver
}

function bind(library: string): Driver {
  let handle: LibraryHandle
  try {
    handle = koffi.load(library)
  } catch (error) {
    const reason = firstLine(error)
    // The system's own sentence does not name the library.
    const isAbsent = /No such file|could not be found/.test(reason)
    throw new DeviceError(
      'NO_DRIVER',
      `the CUDA driver is not there: ${isAbsent ? `no ${library} is found` : reason}`,
    )
  }
  const functions: Record<string, ReturnType<LibraryHandle['func']>> = {}
  for (const [name, kinds] of Object.entries(signatures)) {
    try {
      functions[name] = handle.func(
        name,
        'int32_t',
        kinds.map((kind) => nativeTypes[kind]),
      )
    } catch {
      throw new DeviceError(
        'OLD_DRIVER',
        `${library} has no ${name}: install an NVIDIA driver for CUDA 12 or newer (525 or later)`,
      )
    }
  }
  const wait =
    (name: keyof Functions) =>
    (...args: number[]): Promise<number> =>
      new Promise((resolve, reject) => {
        functions[name]!.async(...args, (error: Error | null, result: number) =>
          error ? reject(error) : resolve(result),
        )
      })
  return {
    ...(functions as unknown as Functions),
    library,
    wait: {
      streamSynchronize: wait('cuStreamSynchronize'),
      eventSynchronize: wait('cuEventSynchronize'),
    },
    current: 0,
  }
}

const firstLine = (error: unknown): string => String((error as Error).message).split('\n')[0]!

/** Reads a pointer, a handle or a size that the driver wrote. */
export function handleIn(out: BigUint64Array): number {
  const handle = Number(out[0]!)
  if (!Number.isSafeInteger(handle)) throw new Error(`the driver gave an address above 2^53: ${out[0]}`)
  return handle
}

/** The C string that the driver's out-parameter points to. */
export const stringAt = (out: BigUint64Array): string => koffi.decode.string(out[0]!)

/** The address of an array's first byte; the array must be kept alive while it is in use. */
export const addressOf = (array: ArrayBuffer | NodeJS.TypedArray): number => Number(koffi.address(array))

/** Writes a whole number below 2^53 without making a BigInt. */
export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true)
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true)
}

/** Memory of the driver's as an ArrayBuffer, without a copy. */
export const viewOf = (address: number, bytes: number): ArrayBuffer => koffi.view(BigInt(address), bytes)
