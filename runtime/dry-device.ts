import type {
  Device,
  DeviceFunction,
  DeviceMemory,
  Event,
  Graph,
  PinnedMemory,
  PreparedLaunch,
  Stream,
} from './device.ts'

/** A device that counts. */
export interface DryDevice {
  readonly device: Device
  /** Bytes that are allocated now. */
  readonly bytes: number
}

/**
 * A device on which nothing happens: memory has addresses and no bytes, launches are prepared and do not run, and what is
 * read is zeros. Programs are compiled for the target of `inner`. To find out what something needs before it is done.
 */
export function dryDevice(inner: Device): DryDevice {
  let bytes = 0
  let next = 256
  const stream: Stream = { synchronize: async () => {}, wait: () => {}, destroy: () => {} }
  const event = (): Event => ({
    done: true,
    record: () => {},
    synchronize: async () => {},
    elapsedSince: () => 0,
    destroy: () => {},
  })
  const device: Device = {
    name: inner.name,
    target: inner.target,
    properties: { ...inner.properties, driver: inner.properties.driver ?? 'none' },
    freeBytes: () => inner.freeBytes(),
    allocate(size): DeviceMemory {
      const address = next
      next += Math.ceil(size / 256) * 256
      bytes += size
      let freed = false
      const free = () => {
        if (!freed) bytes -= size
        freed = true
      }
      return { address, bytes: size, free }
    },
    allocatePinned: (size): PinnedMemory => ({ bytes: size, view: new Uint8Array(size), free: () => {} }),
    write: () => {},
    async read(dst) {
      new Uint8Array(dst.buffer, dst.byteOffset, dst.byteLength).fill(0)
    },
    copy: () => {},
    fill: () => {},
    load: (program): DeviceFunction => ({ program, resources: null }),
    loadAll: async (programs) => programs.map((program) => ({ program, resources: null })),
    prepareLaunch: (fn): PreparedLaunch => ({
      fn,
      run: () => {},
      setArgument: () => {},
      setGrid: () => {},
    }),
    createStream: () => stream,
    createEvent: event,
    capture: (): Graph => ({ launch: () => {}, destroy: () => {} }),
    synchronize: async () => {},
    close: async () => {},
  }
  return {
    device,
    get bytes() {
      return bytes
    },
  }
}
