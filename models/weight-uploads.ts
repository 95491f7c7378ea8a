import type { TensorSource } from '../checkpoint/tensor.ts'
import type { Device, DeviceRange, Event, PinnedMemory } from '../runtime/device.ts'

const pieceBytes = 2 ** 24
const mostPieces = 4

/** A piece of pinned memory, and when what was read into it is on the device. */
interface Piece {
  readonly memory: PinnedMemory
  readonly sent: Event
}

/**
 * Brings tensors from files to a device through pinned memory: while a piece is on its way, the next is read. Without it
 * the driver would copy each once more, into pinned memory of its own.
 */
export class WeightUploads {
  readonly device: Device
  readonly #pieces: Piece[] = []
  #next = 0
  /** Bytes that were sent. */
  bytes = 0

  constructor(device: Device) {
    this.device = device
  }

  /** Fills `dst` with the bytes of a tensor from `byteOffset` on. They are there for what is enqueued afterwards. */
  async send(dst: DeviceRange, tensors: TensorSource, name: string, byteOffset = 0): Promise<void> {
    for (let at = 0; at < dst.bytes; at += pieceBytes) {
      const bytes = Math.min(pieceBytes, dst.bytes - at)
      const { memory, sent } = await this.#piece()
      const view = memory.view.subarray(0, bytes)
      tensors.readInto(view, name, byteOffset + at)
      this.device.write({ address: dst.address + at, bytes }, view)
      sent.record()
    }
    this.bytes += dst.bytes
  }

  /** Waits for what is on its way and gives the pinned memory back. */
  async close(): Promise<void> {
    for (const { memory, sent } of this.#pieces.splice(0)) {
      await sent.synchronize()
      sent.destroy()
      memory.free()
    }
  }

  async #piece(): Promise<Piece> {
    if (this.#pieces.length < mostPieces) {
      const piece = { memory: this.device.allocatePinned(pieceBytes), sent: this.device.createEvent() }
      this.#pieces.push(piece)
      return piece
    }
    const piece = this.#pieces[this.#next++ % mostPieces]!
    await piece.sent.synchronize()
    return piece
  }
}
