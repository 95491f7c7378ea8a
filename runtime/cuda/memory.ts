import { bytesOf } from '../bytes.ts'
import { DeviceError, type DeviceMemory, type DeviceRange, type PinnedMemory } from '../device.ts'
import type { Context, Resource } from './context.ts'
import { handleIn, viewOf } from './driver.ts'
import { cudaResult } from './errors.ts'
import type { CudaStream } from './stream.ts'

/**
 * Device memory by plain `cuMemAlloc`: the engine allocates at start and never afterwards, so that stream-ordered
 * pools would add ordering rules and save nothing. Freeing waits for the GPU.
 */
export class CudaMemory implements DeviceMemory, Resource {
  readonly address: number
  readonly bytes: number
  readonly #context: Context

  constructor(context: Context, bytes: number) {
    checkSize(bytes)
    const driver = context.enter()
    const out = new BigUint64Array(1)
    const result = driver.cuMemAlloc_v2(out, bytes)
    if (result === cudaResult.outOfMemory) {
      const { free, total } = memoryInfo(context)
      context.fail(
        result,
        `allocating ${megabytes(bytes)}, with ${megabytes(free)} of ${megabytes(total)} free`,
      )
    }
    context.check(result, `allocating ${megabytes(bytes)}`)
    this.#context = context
    this.address = handleIn(out)
    this.bytes = bytes
    context.own(this)
  }

  free(): void {
    if (!this.#context.closed) this.#context.release(this)
  }

  release(): void {
    this.#context.driver.cuMemFree_v2(this.address)
  }
}

/**
 * The most that one piece of pinned memory may have: a view of 4 GiB aborts the process on Node 20 (koffi 3.3.4), so
 * larger buffers are made of several.
 */
export const maxPinnedBytes = 2 ** 32 - 2 ** 16

/** Buffers that lie in pinned memory, which the driver copies from and to directly. */
const pinnedBuffers = new WeakSet<ArrayBufferLike>()

/** Runs when no view of a freed piece is left. */
const unreachable = new FinalizationRegistry<CudaPinnedMemory>((memory) => memory.giveBack())

/**
 * Pinned host memory, seen without a copy. A view of memory that the driver has taken back would read what is someone
 * else's, and such a view cannot be detached on Node 20; so `free` gives the memory back once its views are garbage.
 * Closing the device gives all of it back at once: views must not be used afterwards.
 */
export class CudaPinnedMemory implements PinnedMemory, Resource {
  readonly bytes: number
  readonly #context: Context
  readonly #address: number
  #view: Uint8Array | undefined

  constructor(context: Context, bytes: number) {
    checkSize(bytes)
    if (bytes > maxPinnedBytes)
      throw new DeviceError(
        'INVALID_SIZE',
        `one piece of pinned memory has at most ${maxPinnedBytes} bytes, and ${bytes} were asked for: ` +
          'allocate several pieces',
      )
    const out = new BigUint64Array(1)
    const result = context.enter().cuMemHostAlloc(out, bytes, 0)
    context.check(result, `allocating ${megabytes(bytes)} of pinned host memory`)
    this.#context = context
    this.#address = handleIn(out)
    this.bytes = bytes
    const buffer = viewOf(this.#address, bytes)
    pinnedBuffers.add(buffer)
    this.#view = new Uint8Array(buffer)
    context.own(this)
  }

  get view(): Uint8Array {
    if (!this.#view) throw new DeviceError('FREED', `${megabytes(this.bytes)} of pinned memory were freed`)
    return this.#view
  }

  free(): void {
    if (!this.#view) return
    unreachable.register(this.#view.buffer, this)
    this.#view = undefined
  }

  /** Gives the memory back at once; for pieces of which no view is left. */
  giveBack(): void {
    this.#view = undefined
    if (!this.#context.closed) this.#context.release(this)
  }

  release(): void {
    this.#view = undefined
    this.#context.driver.cuMemFreeHost(this.#address)
  }
}

/** Free and total bytes of the GPU. */
export function memoryInfo(context: Context): { free: number; total: number } {
  const free = new BigUint64Array(1)
  const total = new BigUint64Array(1)
  context.check(context.enter().cuMemGetInfo_v2(free, total), `asking ${context.name} for its free memory`)
  return { free: handleIn(free), total: handleIn(total) }
}

/** From pageable memory the driver stages the bytes before it returns; from pinned memory it reads them later. */
export function writeMemory(
  context: Context,
  dst: DeviceRange,
  src: ArrayBufferView,
  stream: CudaStream,
): void {
  checkFits(dst, src.byteLength, 'writing')
  if (src.byteLength === 0) return
  const driver = context.enter()
  const result = driver.cuMemcpyHtoDAsync_v2(dst.address, bytesOf(src), src.byteLength, stream.handle)
  context.check(result, `copying ${src.byteLength} bytes to ${context.name}`)
}

/**
 * Copies to the host through pinned memory, because a copy to pageable memory would block the event loop until it is
 * done. The whole copy is enqueued at once: work enqueued after the call cannot change what is read.
 */
export async function readMemory(
  context: Context,
  dst: ArrayBufferView,
  src: DeviceRange,
  stream: CudaStream,
  staging: Staging,
): Promise<void> {
  checkFits(src, dst.byteLength, 'reading')
  if (dst.byteLength === 0) return
  if (pinnedBuffers.has(dst.buffer)) {
    enqueueRead(context, bytesOf(dst), src, stream)
    return stream.synchronize()
  }
  const pieces: CudaPinnedMemory[] = []
  try {
    for (let at = 0; at < dst.byteLength; at += maxPinnedBytes) {
      const bytes = Math.min(maxPinnedBytes, dst.byteLength - at)
      const piece = staging.take(bytes)
      pieces.push(piece)
      enqueueRead(context, piece.view.subarray(0, bytes), { address: src.address + at, bytes }, stream)
    }
    await stream.synchronize()
    const target = bytesOf(dst)
    pieces.forEach((piece, i) => {
      const at = i * maxPinnedBytes
      target.set(piece.view.subarray(0, Math.min(maxPinnedBytes, target.length - at)), at)
    })
  } finally {
    for (const piece of pieces) staging.give(piece)
  }
}

function enqueueRead(context: Context, dst: Uint8Array, src: DeviceRange, stream: CudaStream): void {
  const result = context.enter().cuMemcpyDtoHAsync_v2(dst, src.address, dst.byteLength, stream.handle)
  context.check(result, `copying ${dst.byteLength} bytes from ${context.name}`)
}

/** Enqueues a copy of all of `src` within the GPU; throws `DeviceError` where `dst` is smaller. */
export function copyMemory(context: Context, dst: DeviceRange, src: DeviceRange, stream: CudaStream): void {
  checkFits(dst, src.bytes, 'copying')
  const result = context.enter().cuMemcpyDtoDAsync_v2(dst.address, src.address, src.bytes, stream.handle)
  context.check(result, `copying ${src.bytes} bytes within ${context.name}`)
}

/** Enqueues setting every byte of `dst`. */
export function fillMemory(context: Context, dst: DeviceRange, byte: number, stream: CudaStream): void {
  const result = context.enter().cuMemsetD8Async(dst.address, byte & 0xff, dst.bytes, stream.handle)
  context.check(result, `filling ${dst.bytes} bytes of ${context.name}`)
}

/** Pinned buffers for reads, kept for the next one: allocating pinned memory costs far more than a copy. */
export class Staging {
  readonly #context: Context
  readonly #idle: CudaPinnedMemory[] = []

  constructor(context: Context) {
    this.#context = context
  }

  /** A buffer of at least `bytes`. */
  take(bytes: number): CudaPinnedMemory {
    const at = this.#idle.findIndex((piece) => piece.bytes >= bytes)
    if (at >= 0) return this.#idle.splice(at, 1)[0]!
    return new CudaPinnedMemory(
      this.#context,
      Math.min(maxPinnedBytes, Math.max(2 ** 16, 2 ** Math.ceil(Math.log2(bytes)))),
    )
  }

  give(piece: CudaPinnedMemory): void {
    if (piece.bytes <= 2 ** 23 && this.#idle.length < 4 && !this.#context.closed) this.#idle.push(piece)
    else piece.giveBack()
  }
}

const megabytes = (bytes: number): string =>
  bytes < 2 ** 20 ? `${bytes} bytes` : `${(bytes / 2 ** 20).toFixed(1)} MiB`

function checkSize(bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 1)
    throw new DeviceError('INVALID_SIZE', `memory has a positive whole number of bytes, got ${bytes}`)
}

function checkFits(range: DeviceRange, bytes: number, action: string): void {
  if (bytes > range.bytes)
    throw new DeviceError('OUT_OF_RANGE', `${action} ${bytes} bytes does not fit a range of ${range.bytes}`)
}
