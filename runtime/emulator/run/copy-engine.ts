import { header } from '../translate/layout.ts'
import type { WasmMemory } from '../wasm/host.ts'
import { KernelFault } from './fault.ts'
import { advanceBarrier } from './mbarrier.ts'
import { mapMagic, mapWords } from './tensor-map.ts'

/**
 * What translated kernels import to copy asynchronously. Addresses are those of linear memory; global ones of plain
 * copies come as f64. `ctas` has a bit for each CTA of the cluster that gets the bytes, 0 for the own one alone; `state`
 * is the address of the warp's state. `site` is an instruction's number, or its site in a checked launch.
 */
export interface CopyImports {
  copyBulk(
    to: number,
    from: number,
    bytes: number,
    barrier: number,
    ctas: number,
    state: number,
    thread: number,
    site: number,
  ): void
  copyTensor(
    to: number,
    map: number,
    rank: number,
    x: number,
    y: number,
    z: number,
    barrier: number,
    ctas: number,
    state: number,
    thread: number,
    site: number,
  ): void
  storeBulk(to: number, from: number, bytes: number, thread: number, site: number): void
  /** `type` indexes `addedTypes`. */
  addBulk(to: number, from: number, bytes: number, type: number, thread: number, site: number): void
  storeTensor(
    map: number,
    rank: number,
    x: number,
    y: number,
    z: number,
    from: number,
    thread: number,
    site: number,
  ): void
}

/** A box of a tensor: where its rows lie, and which of their elements the tensor has. */
export interface Box {
  readonly rows: number
  readonly rowBytes: number
  readonly swizzle: number
  /** Of row r: the global address of its first byte, whether it has any, and the range of bytes that exist. */
  address(row: number): number
  exists(row: number): boolean
  readonly firstByte: number
  readonly endByte: number
}

const chunkBytes = 16

/** Copies at once what kernels ask the copy engine for. */
export class CopyEngine implements CopyImports {
  private readonly memory: WasmMemory
  /** From the shared window of a CTA to the next one's. */
  private readonly stride: number
  private bytes: Uint8Array
  words: Int32Array

  constructor(memory: WasmMemory, stride: number) {
    this.memory = memory
    this.stride = stride
    this.bytes = new Uint8Array(memory.buffer)
    this.words = new Int32Array(memory.buffer)
  }

  /** Memory may have grown. */
  private refresh(): void {
    if (this.bytes.buffer === this.memory.buffer) return
    this.bytes = new Uint8Array(this.memory.buffer)
    this.words = new Int32Array(this.memory.buffer)
  }

  /** The functions as imports, bound. */
  get imports(): CopyImports {
    return {
      copyBulk: (...args) => this.copyBulk(...args),
      copyTensor: (...args) => this.copyTensor(...args),
      storeBulk: (...args) => this.storeBulk(...args),
      addBulk: (...args) => this.addBulk(...args),
      storeTensor: (...args) => this.storeTensor(...args),
    }
  }

  copyBulk(
    to: number,
    from: number,
    bytes: number,
    barrier: number,
    ctas: number,
    state: number,
    _thread: number,
    site: number,
  ): void {
    this.forEachCta(ctas, state, (apart) => {
      this.move((to >>> 0) + apart, from, bytes, site)
      this.complete((barrier >>> 0) + apart, bytes)
    })
  }

  copyTensor(
    to: number,
    map: number,
    rank: number,
    x: number,
    y: number,
    z: number,
    barrier: number,
    ctas: number,
    state: number,
    _thread: number,
    site: number,
  ): void {
    const box = this.box(map, rank, x, y, z, site)
    this.forEachCta(ctas, state, (apart) => {
      this.loadBox((to >>> 0) + apart, box, site)
      this.complete((barrier >>> 0) + apart, box.rows * box.rowBytes)
    })
  }

  storeBulk(to: number, from: number, bytes: number, _thread: number, site: number): void {
    this.move(to, from >>> 0, bytes, site)
  }

  addBulk(to: number, from: number, bytes: number, type: number, _thread: number, site: number): void {
    this.require(to, bytes, site)
    const source = from >>> 0
    this.require(source, bytes, site)
    if (type === 2) {
      const floats = new Float32Array(this.memory.buffer)
      for (let at = 0; at < bytes; at += 4) floats[(to + at) / 4]! += floats[(source + at) / 4]!
    } else {
      const { words } = this
      for (let at = 0; at < bytes; at += 4) Atomics.add(words, (to + at) / 4, words[(source + at) / 4]!)
    }
  }

  storeTensor(
    map: number,
    rank: number,
    x: number,
    y: number,
    z: number,
    from: number,
    _thread: number,
    site: number,
  ): void {
    this.storeBox(this.box(map, rank, x, y, z, site), from >>> 0, site)
  }

  /** Gives the distance to the shared window of each CTA that takes part. */
  forEachCta(ctas: number, state: number, body: (apart: number, rank: number) => void): void {
    this.refresh()
    const own = this.words[((state >>> 0) + header.clusterRank) >>> 2]!
    if (ctas === 0) {
      body(0, own)
      return
    }
    for (let rank = 0; rank < 16; rank++) if ((ctas >> rank) & 1) body((rank - own) * this.stride, rank)
  }

  /** `mbarrier.complete_tx`. */
  complete(barrier: number, bytes: number): void {
    advanceBarrier(this.words, barrier >>> 2, 0, bytes)
  }

  move(to: number, from: number, bytes: number, site: number): void {
    this.refresh()
    this.require(from, bytes, site)
    this.require(to, bytes, site)
    this.bytes.copyWithin(to, from, from + bytes)
  }

  private require(address: number, bytes: number, site: number): void {
    this.refresh()
    if (address + bytes > this.bytes.length || bytes < 0)
      throw new KernelFault(
        'EMULATOR_OUT_OF_BOUNDS',
        `the copy of ${bytes} bytes at 0x${address.toString(16)} leaves device memory`,
        site,
      )
  }

  /** The box at a place of a tensor. */
  box(map: number, rank: number, x: number, y: number, z: number, site: number): Box {
    this.refresh()
    const { words } = this
    const at = (map >>> 0) >>> 2
    const word = (index: number): number => words[at + index]! >>> 0
    if (word(mapWords.magic) !== mapMagic || word(mapWords.rank) !== rank)
      throw new KernelFault(
        'EMULATOR_INVALID_TENSOR_MAP',
        `the copy needs a tensor map of ${rank} dimensions, and there is none at its address`,
        site,
      )
    const elementBytes = word(mapWords.elementBytes)
    const rowsPerSlab = word(mapWords.box + 1)
    const [rowStride, slabStride] = [word(mapWords.strides), word(mapWords.strides + 1)]
    const [columns, extentY, extentZ] = [0, 1, 2].map((axis) => word(mapWords.extents + axis)) as [
      number,
      number,
      number,
    ]
    const boxColumns = word(mapWords.box)
    const base = word(mapWords.address) + x * elementBytes
    const exist = Math.max(0, Math.min(boxColumns, columns - x))
    return {
      rows: rowsPerSlab * word(mapWords.box + 2),
      rowBytes: boxColumns * elementBytes,
      swizzle: word(mapWords.swizzle),
      firstByte: Math.min(Math.max(0, -x), exist) * elementBytes,
      endByte: exist * elementBytes,
      address: (row) =>
        base + (y + (row % rowsPerSlab)) * rowStride + (z + Math.floor(row / rowsPerSlab)) * slabStride,
      exists: (row) => {
        const r = y + (row % rowsPerSlab)
        const slab = z + Math.floor(row / rowsPerSlab)
        return r >= 0 && r < extentY && slab >= 0 && slab < extentZ
      },
    }
  }

  /** Copies a box into shared memory; what the tensor does not have becomes zeros. */
  loadBox(to: number, box: Box, site: number): void {
    const { rows, rowBytes, swizzle, firstByte, endByte } = box
    this.require(to, rows * rowBytes, site)
    const { bytes } = this
    for (let row = 0; row < rows; row++) {
      const start = to + row * rowBytes
      const first = box.exists(row) ? firstByte : rowBytes
      const end = box.exists(row) ? Math.max(endByte, firstByte) : rowBytes
      const from = box.address(row)
      if (first < end) this.require(from + first, end - first, site)
      if (swizzle === 0) {
        bytes.fill(0, start, start + Math.min(first, rowBytes))
        if (first < end) bytes.copyWithin(start + first, from + first, from + end)
        bytes.fill(0, start + end, start + rowBytes)
        continue
      }
      for (let chunk = 0; chunk < rowBytes; chunk += chunkBytes) {
        const target = swizzled(start + chunk, swizzle)
        const low = Math.max(first, chunk)
        const high = Math.min(end, chunk + chunkBytes)
        if (low > chunk || high < chunk + chunkBytes) bytes.fill(0, target, target + chunkBytes)
        if (low < high) bytes.copyWithin(target + low - chunk, from + low, from + high)
      }
    }
  }

  /** Copies a box out of shared memory, as far as the tensor has room for it. */
  storeBox(box: Box, from: number, site: number): void {
    const { rows, rowBytes, swizzle, firstByte, endByte } = box
    this.require(from, rows * rowBytes, site)
    const { bytes } = this
    for (let row = 0; row < rows; row++) {
      if (!box.exists(row) || firstByte >= endByte) continue
      const to = box.address(row)
      this.require(to + firstByte, endByte - firstByte, site)
      const start = from + row * rowBytes
      if (swizzle === 0) {
        bytes.copyWithin(to + firstByte, start + firstByte, start + endByte)
        continue
      }
      for (let chunk = 0; chunk < rowBytes; chunk += chunkBytes) {
        const low = Math.max(firstByte, chunk)
        const high = Math.min(endByte, chunk + chunkBytes)
        const source = swizzled(start + chunk, swizzle)
        if (low < high) bytes.copyWithin(to + low, source + low - chunk, source + high - chunk)
      }
    }
  }
}

/**
 * Where a byte of shared memory goes when 16-byte chunks are swizzled over 32, 64 or 128 bytes: the address bits from 7
 * on are added, without carry, to those from 4 on.
 */
export function swizzled(address: number, swizzle: number): number {
  return address ^ (((address >>> 7) & (swizzle / chunkBytes - 1)) << 4)
}
