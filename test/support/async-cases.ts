import {
  addBulk,
  arrive,
  arriveExpecting,
  barrier,
  barriers,
  blockIdx,
  clusterBarrier,
  clusterRank,
  clusterSize,
  commitBulk,
  copyBulk,
  copyTensor,
  type DType,
  dtypeBytes,
  type Elem,
  fenceAsync,
  fenceBarrierInit,
  type In,
  type InOut,
  i32,
  idiv,
  initBarrier,
  kernel,
  laneIdx,
  load,
  loadWords,
  type Out,
  prefetchTensor,
  range,
  rowMajor,
  shared,
  store,
  storeBulk,
  storeTensor,
  swizzledTile,
  syncWarp,
  threadIdx,
  u32,
  unroll,
  waitBarrier,
  waitBulk,
  warpIdx,
} from '../../dsl/index.ts'
import type { HostArray } from '../../runtime/tensor.ts'
import { rng } from './rng.ts'
import { assertSame, type KernelCase } from './run-kernel.ts'

/** Kernels around the copy engine, barriers in shared memory and clusters, with what they must give; for sm_90a. */

const random = rng(71)

const integers = (n: number, low: number, high: number) =>
  Int32Array.from({ length: n }, () => random.integer(low, high))

/** Bits of any element type that are not NaN, so that equal means equal. */
const bits: Readonly<Record<DType, (n: number) => HostArray>> = {
  f32: (n) => Float32Array.from({ length: n }, () => random.normal()),
  f16: (n) => Uint16Array.from(integers(n, 0, 0x7bff)),
  bf16: (n) => Uint16Array.from(integers(n, 0, 0x7f7f)),
  i32: (n) => integers(n, -(2 ** 31), 2 ** 31 - 1),
  u32: (n) => Uint32Array.from(integers(n, 0, 2 ** 31 - 1)),
  i8: (n) => Int8Array.from(integers(n, -128, 127)),
  u8: (n) => Uint8Array.from(integers(n, 0, 255)),
  e4m3: (n) => Uint8Array.from(integers(n, 0, 0x7e)),
  e5m2: (n) => Uint8Array.from(integers(n, 0, 0x7b)),
}

export interface TileConfig {
  readonly dtype: DType
  readonly rows: number
  readonly columns: number
  /** 0 for a tile of two dimensions. */
  readonly slabs: number
  readonly swizzled: boolean
  readonly row: number
  readonly column: number
}

const tileShape = (c: TileConfig) => (c.slabs > 0 ? [2, c.slabs, c.rows, c.columns] : [2, c.rows, c.columns])

/** Copies the tile at an origin into the second of two stages, and its elements by index to `out`. */
export const readTile = kernel(
  import.meta.url,
  { grid: () => [1], block: [64] },
  function readTile(
    a: { x: In<Elem<'dtype'>, 'M K'>; out: Out<Elem<'dtype'>, 'Rows Columns'> },
    c: TileConfig,
  ) {
    const shape = tileShape(c)
    const tiles = shared<Elem<'dtype'>>(c.dtype, c.swizzled ? swizzledTile(shape, c.dtype) : rowMajor(shape))
    const full = barriers(1)
    const tile = tiles.row(1)
    if (threadIdx.x === 0) {
      prefetchTensor(tile, a.x)
      initBarrier(full, 0, 1)
      fenceBarrierInit()
    }
    barrier()
    const slabs = Math.max(c.slabs, 1)
    if (threadIdx.x === 0) {
      arriveExpecting(full, 0, slabs * c.rows * c.columns * dtypeBytes[c.dtype])
      copyTensor(tile, a.x, [c.row, c.column], full, 0)
    }
    waitBarrier(full, 0, 0)
    const width = slabs * c.columns
    for (const i of range(threadIdx.x, c.rows * width, 64)) {
      const [row, column] = [idiv(i, width), i % width]
      const value =
        c.slabs > 0 ? tile.at(idiv(column, c.columns), row, column % c.columns) : tile.at(row, column)
      a.out.put(value, row, column)
    }
  },
)

const tiles: readonly TileConfig[] = [
  ...(['i8', 'u8', 'e4m3', 'f16', 'bf16', 'i32', 'u32', 'f32'] as const).map((dtype) => ({
    ...{ dtype, rows: 24, columns: 128 / dtypeBytes[dtype], slabs: 0, swizzled: true, row: 8 },
    column: 32 / dtypeBytes[dtype],
  })),
  { dtype: 'f16', rows: 16, columns: 32, slabs: 0, swizzled: true, row: 3, column: 8 },
  { dtype: 'f16', rows: 16, columns: 16, slabs: 0, swizzled: true, row: 40, column: 40 },
  { dtype: 'f16', rows: 16, columns: 64, slabs: 2, swizzled: true, row: -5, column: 64 },
  { dtype: 'i8', rows: 40, columns: 32, slabs: 3, swizzled: true, row: 30, column: 64 },
  { dtype: 'f32', rows: 8, columns: 52, slabs: 0, swizzled: false, row: 0, column: 24 },
  { dtype: 'i8', rows: 8, columns: 208, slabs: 0, swizzled: false, row: 44, column: -16 },
  { dtype: 'i8', rows: 8, columns: 48, slabs: 2, swizzled: false, row: 2, column: 96 },
]
const [m, k] = [50, 192]

function readCase(c: TileConfig): KernelCase {
  const shape = `${c.slabs || ''}[${c.rows}, ${c.columns}] of ${c.dtype}${c.swizzled ? ', swizzled,' : ''}`
  const x = bits[c.dtype](m * k)
  const width = Math.max(c.slabs, 1) * c.columns
  const expected = Array.from({ length: c.rows * width }, (_, i) => {
    const [row, column] = [c.row + Math.floor(i / width), c.column + (i % width)]
    return row >= 0 && row < m && column >= 0 && column < k ? x[row * k + column]! : 0
  })
  return {
    name: `copyTensor gives ${shape} at ${c.row}, ${c.column}, with zeros outside`,
    kernel: readTile,
    config: c,
    args: {
      x: { dtype: c.dtype, shape: [m, k], data: x },
      out: { dtype: c.dtype, shape: [c.rows, width] },
    },
    check: ({ out }) => assertSame(out!, expected, width),
  }
}

/** Fills a tile and stores it at an origin of `out`. */
const writeTile = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function writeTile(
    a: { out: Out<i32, 'B M K'> },
    c: { readonly slabs: number; readonly row: number; readonly column: number },
  ) {
    const tile = shared<i32>('i32', swizzledTile(c.slabs > 0 ? [c.slabs, 16, 32] : [16, 32], 'i32'))
    for (const row of range(16))
      for (const slab of unroll(Math.max(c.slabs, 1))) {
        const value = row * 1000 + slab * 32 + threadIdx.x
        if (c.slabs > 0) tile.put(value, slab, row, threadIdx.x)
        else tile.put(value, row, threadIdx.x)
      }
    fenceAsync()
    barrier()
    if (threadIdx.x === 0) {
      storeTensor(a.out, [c.row, c.column], tile, { evict: 'first' })
      commitBulk()
      waitBulk(0)
    }
  },
)

function writeCase(slabs: number, row: number, column: number): KernelCase {
  const [b, rows, columns] = [2, 20, 96]
  const before = integers(b * rows * columns, -99, -1)
  const expected = before.map((old, i) => {
    const [y, x] = [Math.floor(i / columns) - row, (i % columns) - column]
    return y >= 0 && y < 16 && x >= 0 && x < 32 * Math.max(slabs, 1) ? y * 1000 + x : old
  })
  return {
    name: `storeTensor writes ${slabs ? `${slabs} slabs` : 'a tile'} at ${row}, ${column} and nothing outside; leading dimensions are rows`,
    kernel: writeTile,
    config: { slabs, row, column },
    args: { out: { dtype: 'i32', shape: [b, rows, columns], data: before } },
    check: ({ out }) => assertSame(out!, expected, columns),
  }
}

/** Rows of `w` through a ring of three stages: a producer warp copies bytes, four consumer warps add them up. */
const sumThroughRing = kernel(
  import.meta.url,
  { grid: () => [2], block: [160] },
  function sumThroughRing(a: {
    w: In<i32, 'Tiles Steps 128'>
    sums: InOut<i32, 'Tiles 128'>
    total: InOut<i32, '128'>
  }) {
    const stages = 3
    const ring = shared<i32>('i32', [stages, 128])
    const result = shared<i32>('i32', [128])
    const full = barriers(stages)
    const empty = barriers(stages)
    if (threadIdx.x === 0) {
      for (const s of unroll(stages)) {
        initBarrier(full, s, 1)
        initBarrier(empty, s, 4)
      }
      fenceBarrierInit()
    }
    barrier()
    const steps = a.w.dim('Steps')
    let stage = i32(0)
    if (warpIdx === 4) {
      if (laneIdx === 0) {
        let parity = i32(1)
        for (const step of range(steps)) {
          waitBarrier(empty, stage, parity)
          arriveExpecting(full, stage, 512)
          copyBulk(ring, [stage, 0], a.w, [blockIdx.x, step, 0], 512, full, stage, { evict: 'first' })
          stage = stage + 1
          if (stage === stages) {
            stage = 0
            parity = parity ^ 1
          }
        }
      }
    } else {
      let parity = i32(0)
      let sum = i32(0)
      for (const _ of range(steps)) {
        waitBarrier(full, stage, parity)
        sum = sum + ring.at(stage, threadIdx.x)
        syncWarp()
        if (laneIdx === 0) arrive(empty, stage)
        stage = stage + 1
        if (stage === stages) {
          stage = 0
          parity = parity ^ 1
        }
      }
      result.put(sum, threadIdx.x)
      fenceAsync()
    }
    barrier()
    if (threadIdx.x === 0) {
      storeBulk(a.sums, [blockIdx.x, 0], result, [0], 512)
      addBulk(a.total, [0], result, [0], 512)
      commitBulk()
      waitBulk(0)
    }
  },
)

function ringCase(steps: number): KernelCase {
  const w = integers(2 * steps * 128, -1000, 1000)
  const before = integers(128, -9, 9)
  const expected = new Int32Array(256)
  w.forEach((v, i) => {
    expected[Math.floor(i / (steps * 128)) * 128 + (i % 128)]! += v
  })
  const added = before.map((v, i) => v + expected[i]! + expected[128 + i]!)
  return {
    name: `a ring of three stages carries ${steps} steps; sums are stored and added up`,
    kernel: sumThroughRing,
    config: {},
    args: {
      w: { dtype: 'i32', shape: [2, steps, 128], data: w },
      sums: { dtype: 'i32', shape: [2, 128], data: new Int32Array(256) },
      total: { dtype: 'i32', shape: [128], data: before },
    },
    check: ({ sums, total }) => {
      assertSame(sums!, expected, 128, 'sums')
      assertSame(total!, added, 128, 'total')
    },
  }
}

/**
 * Each CTA of a cluster loads its share of a tile into all of them, tells the others when it has read it, and reads what
 * its right neighbour wrote.
 */
const shareTile = kernel(
  import.meta.url,
  { grid: () => [8], block: [32], cluster: (c: { readonly ctas: number }) => c.ctas },
  function shareTile(
    a: { x: In<u32, 'M 8'>; sums: Out<u32, 'Ctas 32'>; neighbours: Out<u32, 'Ctas 32'> },
    _c: { readonly ctas: number },
  ) {
    const rows = 32
    const share = idiv(rows, clusterSize)
    const tile = shared<u32>('u32', swizzledTile([clusterSize, share, 8], 'u32'))
    const own = shared<u32>('u32', [32])
    const full = barriers(1)
    const read = barriers(1)
    const first = idiv(blockIdx.x, clusterSize) * rows
    if (threadIdx.x === 0) {
      initBarrier(full, 0, 1)
      initBarrier(read, 0, clusterSize)
      fenceBarrierInit()
    }
    clusterBarrier()
    if (threadIdx.x === 0) {
      arriveExpecting(full, 0, rows * 32)
      copyTensor(tile.row(clusterRank), a.x, [first + clusterRank * share, 0], full, 0, {
        multicast: (1 << clusterSize) - 1,
      })
    }
    waitBarrier(full, 0, 0)
    const words = load(tile, [idiv(threadIdx.x, share), threadIdx.x % share, 0], 4)
    own.put(words[0]! + words[1]! * 3 + words[2]! * 5 + words[3]! * 7, threadIdx.x)
    if (laneIdx < clusterSize) arrive(read.peer(laneIdx), 0)
    waitBarrier(read, 0, 0)
    clusterBarrier()
    const right = own.peer((clusterRank + 1) % clusterSize)
    store(a.neighbours, [blockIdx.x, threadIdx.x], [right.at(threadIdx.x)])
    store(a.sums, [blockIdx.x, threadIdx.x], [own.at(threadIdx.x)])
    clusterBarrier()
  },
)

function clusterCase(ctas: number): KernelCase {
  const tilesOf = 8 / ctas
  const x = Uint32Array.from(integers(tilesOf * 32 * 8, 0, 1 << 20))
  const rowSum = (row: number) => [1, 3, 5, 7].reduce((sum, factor, i) => sum + factor * x[row * 8 + i]!, 0)
  const expected = Array.from({ length: 256 }, (_, i) => rowSum(Math.floor(i / 32 / ctas) * 32 + (i % 32)))
  return {
    name: `a cluster of ${ctas} shares a tile by multicast and reads its peers`,
    kernel: shareTile,
    config: { ctas },
    args: {
      x: { dtype: 'u32', shape: [tilesOf * 32, 8], data: x },
      sums: { dtype: 'u32', shape: [8, 32] },
      neighbours: { dtype: 'u32', shape: [8, 32] },
    },
    check: ({ sums, neighbours }) => {
      assertSame(sums!, expected, 32, 'sums')
      assertSame(neighbours!, expected, 32, 'neighbours')
    },
  }
}

/** Each CTA of a pair writes the words that the other stores. */
const swapHalves = kernel(
  import.meta.url,
  { grid: () => [2], block: [32], cluster: () => 2 },
  function swapHalves(a: { out: Out<u32, '2 64'> }) {
    const mine = shared<u32>('u32', [64])
    clusterBarrier()
    const value = clusterRank * 1000 + threadIdx.x * 2
    store(mine.peer(clusterRank ^ 1), [threadIdx.x * 2], [u32Of(value), u32Of(value + 1)])
    clusterBarrier()
    const [low, high] = loadWords(mine, [threadIdx.x * 2], 2)
    store(a.out, [clusterRank, threadIdx.x * 2], [low!, high!])
  },
)

const u32Of = (v: i32): u32 => u32.bits(v)

const swapCase: KernelCase = {
  name: 'stores to a peer are seen by it',
  kernel: swapHalves,
  config: {},
  args: { out: { dtype: 'u32', shape: [2, 64] } },
  check: ({ out }) =>
    assertSame(
      out!,
      Array.from({ length: 128 }, (_, i) => (i < 64 ? 1000 : 0) + (i % 64)),
      64,
    ),
}

export const asyncCases: readonly KernelCase[] = [
  ...tiles.map(readCase),
  writeCase(0, 5, 8),
  writeCase(0, 30, 72),
  writeCase(2, 7, 32),
  ...[1, 3, 11].map(ringCase),
  ...[2, 4].map(clusterCase),
  swapCase,
]
