import { DeviceError } from '../../device.ts'
import { type WasmMemory, WebAssembly } from '../wasm/host.ts'

const pageBytes = 65536
/** Allocations start at multiples of this, and keep as much distance, so that a near miss hits none. */
const granularity = 256
/** Addresses below are never given out: 0 is the null pointer. */
const firstAddress = pageBytes

const maxBytes = 65536 * pageBytes

const sizeOf = (bytes: number): number => (Math.ceil(bytes / granularity) + 1) * granularity

interface Gap {
  address: number
  bytes: number
}

/** The emulator's device memory: one shared WebAssembly memory that grows, and a first-fit list of its free parts. */
export class Heap {
  readonly memory: WasmMemory
  /** Where the heap may grow to. */
  limit: number
  private readonly gaps: Gap[] = []
  private end = firstAddress
  private readonly sizes = new Map<number, number>()

  constructor(limit: number) {
    this.limit = Math.min(limit + firstAddress, maxBytes)
    this.memory = new WebAssembly.Memory({ initial: 2, maximum: 65536, shared: true })
  }

  /** For the emulator's own use: does not count towards the limit. */
  allocatePrivate(bytes: number): number {
    this.limit = Math.min(this.limit + sizeOf(bytes), maxBytes)
    return this.allocate(bytes)
  }

  /** Bytes that have not been given out. */
  get unused(): number {
    return this.gaps.reduce((sum, { bytes }) => sum + bytes, this.limit - this.end)
  }

  /** Throws when the limit is reached. */
  allocate(bytes: number): number {
    if (!Number.isSafeInteger(bytes) || bytes <= 0)
      throw new DeviceError('INVALID_ARGUMENT', `cannot allocate ${bytes} bytes of device memory`)
    const size = sizeOf(bytes)
    const index = this.gaps.findIndex((gap) => gap.bytes >= size)
    let address = this.end
    if (index >= 0) {
      const gap = this.gaps[index]!
      address = gap.address
      gap.address += size
      gap.bytes -= size
      if (gap.bytes === 0) this.gaps.splice(index, 1)
    } else {
      if (this.end + size > this.limit)
        throw new DeviceError(
          'OUT_OF_MEMORY',
          `out of device memory: ${bytes} bytes asked for, ${Math.max(this.limit - this.end, 0)} left of ${this.limit - firstAddress}`,
        )
      this.end += size
      this.grow()
    }
    this.sizes.set(address, size)
    return address
  }

  private grow(): void {
    const missing = this.end - this.memory.buffer.byteLength
    if (missing <= 0) return
    // By a quarter at least, so that many small allocations grow it few times.
    const wanted = Math.max(missing, this.memory.buffer.byteLength / 4)
    const room = this.limit - this.memory.buffer.byteLength
    const pages = Math.ceil(Math.max(missing, Math.min(wanted, room)) / pageBytes)
    try {
      this.memory.grow(pages)
    } catch {
      throw new DeviceError(
        'OUT_OF_MEMORY',
        `the host has no ${pages * pageBytes} bytes more for device memory`,
      )
    }
  }

  free(address: number): void {
    const bytes = this.sizes.get(address)
    if (bytes === undefined) return
    this.sizes.delete(address)
    const at = this.gaps.findIndex((gap) => gap.address > address)
    const index = at < 0 ? this.gaps.length : at
    const before = this.gaps[index - 1]
    const after = this.gaps[index]
    const joinsBefore = before !== undefined && before.address + before.bytes === address
    const joinsAfter = after !== undefined && address + bytes === after.address
    if (joinsBefore && joinsAfter) {
      before.bytes += bytes + after.bytes
      this.gaps.splice(index, 1)
    } else if (joinsBefore) before.bytes += bytes
    else if (joinsAfter) {
      after.address = address
      after.bytes += bytes
    } else this.gaps.splice(index, 0, { address, bytes })
    // What lies free at the end is part of the room that is left.
    const last = this.gaps.at(-1)!
    if (last.address + last.bytes !== this.end) return
    this.end = last.address
    this.gaps.pop()
  }

  /** Whether a range lies in memory that was ever given out. */
  contains(address: number, bytes: number): boolean {
    return address >= firstAddress && address + bytes <= this.end
  }

  /** The bytes of a range as they are now; do not keep it across allocations. */
  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, address, length)
  }
}
