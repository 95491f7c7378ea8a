import { targets } from '../../codegen/target.ts'
import { bytesOf } from '../../runtime/bytes.ts'
import type {
  Device,
  DeviceFunction,
  DeviceMemory,
  DeviceRange,
  Event,
  LaunchArgument,
  LaunchShape,
  PinnedMemory,
  PreparedLaunch,
  Stream,
} from '../../runtime/device.ts'

/** One launch that a host device was asked to run. */
export interface HostLaunch {
  readonly kernel: string
  readonly grid: readonly number[]
  readonly args: readonly LaunchArgument[]
}

/** A device whose memory is host memory and whose launches are only noted: for tests of what lies above a device. */
export interface HostDevice extends Device {
  readonly launches: HostLaunch[]
  /** Calls of `setArgument` and `setGrid` so far. */
  readonly changes: string[]
  /** Allocations not given back. */
  live(): number
}

export function hostDevice(name = 'host', bytes = 1 << 20): HostDevice {
  const memory = new Uint8Array(bytes)
  const launches: HostLaunch[] = []
  const changes: string[] = []
  let next = 256
  let live = 0
  const at = (range: DeviceRange) => memory.subarray(range.address, range.address + range.bytes)
  const stream: Stream = { synchronize: async () => {}, wait: () => {}, destroy: () => {} }
  const event = (): Event => ({
    done: true,
    record: () => {},
    synchronize: async () => {},
    elapsedSince: () => 0,
    destroy: () => {},
  })
  return {
    name,
    launches,
    changes,
    live: () => live,
    target: targets.sm_80,
    properties: {
      description: 'host memory',
      multiprocessors: 1,
      memoryBytes: bytes,
      l2Bytes: 0,
      sharedBytesPerBlock: targets.sm_80.sharedBytes,
      driver: null,
    },
    freeBytes: () => bytes - next,
    allocate(size): DeviceMemory {
      const address = next
      next = Math.ceil((next + size) / 256) * 256
      live++
      let freed = false
      const free = () => {
        if (!freed) live--
        freed = true
      }
      return { address, bytes: size, free }
    },
    allocatePinned: (size): PinnedMemory => ({ bytes: size, view: new Uint8Array(size), free: () => {} }),
    write: (dst, src) => at(dst).set(bytesOf(src)),
    async read(dst, src) {
      bytesOf(dst).set(at(src).subarray(0, dst.byteLength))
    },
    copy: (dst, src) => at(dst).set(at(src)),
    fill: (dst, byte) => {
      at(dst).fill(byte)
    },
    load: (program): DeviceFunction => ({ program, resources: null }),
    loadAll: async (programs) => programs.map((program) => ({ program, resources: null })),
    prepareLaunch(fn, shape: LaunchShape, args: readonly LaunchArgument[]): PreparedLaunch {
      const values = [...args]
      let { grid } = shape
      return {
        fn,
        run: () => {
          launches.push({ kernel: fn.program.name, grid: [...grid], args: [...values] })
        },
        setArgument: (i, value) => {
          changes.push(`argument ${i} ${value}`)
          values[i] = value
        },
        setGrid: (value) => {
          changes.push(`grid ${value.join('×')}`)
          grid = value
        },
      }
    },
    createStream: () => stream,
    createEvent: event,
    capture(enqueue) {
      enqueue(stream)
      return { launch: () => {}, destroy: () => {} }
    },
    synchronize: async () => {},
    close: async () => {},
  }
}
