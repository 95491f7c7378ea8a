import { header } from '../translate/layout.ts'
import type { WasmMemory } from '../wasm/host.ts'
import { KernelFault } from './fault.ts'
import { advanceBarrier } from './mbarrier.ts'
import { mapMagic, mapWords } from './tensor-map.ts'
import { type TileCopier, tileCopier } from './tile-copier.ts'

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

/** A box of a tensor, row by row as it lies in shared memory, and what of it the tensor has. */
export interface Box {
  readonly slabs: number
  readonly rowsOfSlab: number
  readonly rowBytes: number
  readonly swizzle: number
  /** Global address of the first byte, whether it exists or not, and distances. */
  readonly address: number
  readonly rowStride: number
  readonly slabStride: number
  /** What exists: slabs, rows of each and bytes of each row from the first to before the end. */
  readonly firstSlab: number
  readonly endSlab: number
  readonly firstRow: number
  readonly endRow: number
  readonly firstByte: number
  readonly endByte: number
}

const chunkBytes = 16

/** Copies at once what kernels ask the copy engine for. */
export class CopyEngine implements CopyImports {
  private readonly memory: WasmMemory
  /** From the shared window of a CTA to the next one's. */
  private readonly stride: number
  private readonly tiles: TileCopier
  private bytes: Uint8Array
  words: Int32Array

  constructor(memory: WasmMemory, stride: number) {
    this.memory = memory
    this.stride = stride
    this.tiles = tileCopier(memory)
    this.bytes = new Uint8Array(memory.buffer)
    this.words = new Int32Array(memory.buffer)
  }

  /** To be called before a launch: memory may have grown. */
  refresh(): void {
    if (this.bytes.buffer === this.memory.buffer) return
    this.bytes = new Uint8Array(this.memory.buffer)
    this.words = new Int32Array(this.memory.buffer)
  }

  /** The functions as imports, bound. */
  get imports(): CopyImports {
    return {
      copyBulk: this.copyBulk.bind(this),
      copyTensor: this.copyTensor.bind(this),
      storeBulk: this.storeBulk.bind(this),
      addBulk: this.addBulk.bind(this),
      storeTensor: this.storeTensor.bind(this),
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
      this.complete((barrier >>> 0) + apart, boxBytes(box))
    })
  }

  storeBulk(to: number, from: number, bytes: number, _thread: number, site: number): void {
    this.move(to, from >>> 0, bytes, site)
  }

  addBulk(to: number, from: number, bytes: number, type: number, _thread: number, site: number): void {
    this.require(to, bytes, site)
    const source = from >>> 0
    this.require(source, bytes, site)
    const { words } = this
    for (let at = 0; at < bytes; at += 4) {
      const value = words[(source + at) / 4]!
      if (type === 2) addFloat(words, (to + at) / 4, value)
      else Atomics.add(words, (to + at) / 4, value)
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
    this.require(from, bytes, site)
    this.require(to, bytes, site)
    this.bytes.copyWithin(to, from, from + bytes)
  }

  private require(address: number, bytes: number, site: number): void {
    if (address + bytes > this.bytes.length || bytes < 0)
      throw new KernelFault(
        'EMULATOR_OUT_OF_BOUNDS',
        `the copy of ${bytes} bytes at 0x${address.toString(16)} leaves device memory`,
        site,
      )
  }

  /** The box at a place of a tensor. */
  box(map: number, rank: number, x: number, y: number, z: number, site: number): Box {
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
    const [columns, rowsOfSlab, slabs] = [word(mapWords.box), word(mapWords.box + 1), word(mapWords.box + 2)]
    const [rowStride, slabStride] = [word(mapWords.strides), word(mapWords.strides + 1)]
    const first = (place: number, count: number): number => Math.min(Math.max(0, -place), count)
    const end = (place: number, count: number, axis: number): number =>
      Math.max(first(place, count), Math.min(count, word(mapWords.extents + axis) - place))
    return {
      slabs,
      rowsOfSlab,
      rowBytes: columns * elementBytes,
      swizzle: word(mapWords.swizzle),
      address: word(mapWords.address) + x * elementBytes + y * rowStride + z * slabStride,
      rowStride,
      slabStride,
      firstSlab: first(z, slabs),
      endSlab: end(z, slabs, 2),
      firstRow: first(y, rowsOfSlab),
      endRow: end(y, rowsOfSlab, 1),
      firstByte: first(x, columns) * elementBytes,
      endByte: end(x, columns, 0) * elementBytes,
    }
  }

  /** Copies a box into shared memory; what the tensor does not have becomes zeros. */
  loadBox(to: number, box: Box, site: number): void {
    const { rowBytes, swizzle, firstByte, endByte } = box
    const bytes = boxBytes(box)
    this.require(to, bytes, site)
    // What nothing is copied to becomes zeros, wherever swizzling puts it.
    if (bytesThatExist(box) < bytes) this.bytes.fill(0, to, to + bytes)
    if (firstByte === 0 && endByte === rowBytes) {
      for (let slab = box.firstSlab; slab < box.endSlab; slab++) this.copySlab('load', to, box, slab, site)
      return
    }
    forEachChunk(to, box, maskOf(swizzle), (inTile, plain, count) => {
      this.require(plain, count, site)
      this.bytes.copyWithin(inTile, plain, plain + count)
    })
  }

  /** Copies a box out of shared memory, as far as the tensor has room for it. */
  storeBox(box: Box, from: number, site: number): void {
    const { rowBytes, swizzle, firstByte, endByte } = box
    this.require(from, boxBytes(box), site)
    if (firstByte === 0 && endByte === rowBytes) {
      for (let slab = box.firstSlab; slab < box.endSlab; slab++) this.copySlab('store', from, box, slab, site)
      return
    }
    forEachChunk(from, box, maskOf(swizzle), (inTile, plain, count) => {
      this.require(plain, count, site)
      this.bytes.copyWithin(plain, inTile, inTile + count)
    })
  }

  /** The rows of a slab that exist, all their bytes. */
  private copySlab(direction: 'load' | 'store', tile: number, box: Box, slab: number, site: number): void {
    const { firstRow, endRow, rowBytes, rowStride, swizzle } = box
    if (firstRow === endRow) return
    const rows = endRow - firstRow
    const plain = box.address + slab * box.slabStride + firstRow * rowStride
    this.require(plain, (rows - 1) * rowStride + rowBytes, site)
    const inTile = tile + (slab * box.rowsOfSlab + firstRow) * rowBytes
    this.tiles[direction](inTile, plain, rows, rowBytes / chunkBytes, rowStride, maskOf(swizzle))
  }
}

export function boxBytes({ slabs, rowsOfSlab, rowBytes }: Box): number {
  return slabs * rowsOfSlab * rowBytes
}

/** Bytes of a box that the tensor has. */
export function bytesThatExist(box: Box): number {
  const rows = (box.endSlab - box.firstSlab) * (box.endRow - box.firstRow)
  return rows * (box.endByte - box.firstByte)
}

const maskOf = (swizzle: number): number => (swizzle === 0 ? 0 : swizzle / chunkBytes - 1)

/** Goes through the parts of a box that exist, within 16-byte chunks of its tile. */
function forEachChunk(
  tile: number,
  box: Box,
  mask: number,
  body: (inTile: number, plain: number, bytes: number) => void,
): void {
  const { rowsOfSlab, rowBytes, firstByte, endByte } = box
  for (let slab = box.firstSlab; slab < box.endSlab; slab++)
    for (let row = box.firstRow; row < box.endRow; row++) {
      const start = tile + (slab * rowsOfSlab + row) * rowBytes
      const plain = box.address + slab * box.slabStride + row * box.rowStride
      for (let byte = firstByte; byte < endByte; ) {
        const end = Math.min(endByte, byte - (byte % chunkBytes) + chunkBytes)
        body(swizzled(start + byte, mask), plain + byte, end - byte)
        byte = end
      }
    }
}

/**
 * Where a byte of shared memory goes when chunks are swizzled: the address bits from 7 on, as many as the mask has, are
 * added without carry to those from 4 on.
 */
function swizzled(address: number, mask: number): number {
  return address ^ (((address >>> 7) & mask) << 4)
}

const float = new Float32Array(1)
const floatBits = new Int32Array(float.buffer)

/** Adds an f32, given by its bits, to a word that other threads may change at the same time. */
function addFloat(words: Int32Array, index: number, bits: number): void {
  for (;;) {
    const before = Atomics.load(words, index)
    floatBits[0] = bits
    const value = float[0]!
    floatBits[0] = before
    float[0] = float[0]! + value
    if (Atomics.compareExchange(words, index, before, floatBits[0]!) === before) return
  }
}
