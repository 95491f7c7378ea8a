import { type WgmmaTypes, wgmmaAtom } from '../../dsl/atoms/wgmma.ts'
import {
  arriveExpecting,
  barrier,
  barriers,
  blockIdx,
  copyTensor,
  type DType,
  type Elem,
  type f16,
  f32,
  fenceAsync,
  fenceBarrierInit,
  type In,
  i32,
  initBarrier,
  kernel,
  loadWords,
  matrixOperand,
  type Out,
  overlay,
  packFp8,
  regs,
  shared,
  stmatrix,
  storeWords,
  swizzledTile,
  threadIdx,
  u32,
  unpack2,
  unpackFp8,
  unroll,
  waitBarrier,
  wgmma,
  wgmmaCommit,
  wgmmaFence,
  wgmmaWait,
} from '../../dsl/index.ts'

/** Kernels that show where each element goes: what they leave must be the same on a GPU and on the emulator. */

export interface ProductConfig {
  readonly types: WgmmaTypes
  readonly a: DType
  readonly b: DType
  readonly out: 'i32' | 'f32'
  readonly columns: number
  /** Bytes of a row in shared memory: its swizzle. */
  readonly rowBytes: number
  /** Where A comes from. */
  readonly from: 'registers' | 'shared'
}

/** One step of a product in each CTA, of operands of its own; the accumulators of every thread. */
export const products = kernel(
  import.meta.url,
  { grid: (d) => [d.Cases!], block: [128] },
  function products(
    a: {
      fragments: In<u32, 'Cases 128 4'>
      a: In<Elem<'a'>, 'ARows Elements'>
      b: In<Elem<'b'>, 'BRows Elements'>
      out: Out<Elem<'out'>, 'Cases 128 Registers'>
    },
    c: ProductConfig,
  ) {
    const atom = wgmmaAtom(c.columns, c.types)
    const elements = (c.rowBytes / 32) * atom.k
    const aTile = shared<number>(c.a, swizzledTile([64, elements], c.a))
    const bTile = shared<number>(c.b, swizzledTile([c.columns, elements], c.b))
    const full = barriers(1)
    const thread = threadIdx.x
    const index = blockIdx.x
    if (thread === 0) {
      initBarrier(full, 0, 1)
      fenceBarrierInit()
    }
    barrier()
    if (thread === 0) {
      arriveExpecting(full, 0, (64 + c.columns) * c.rowBytes)
      copyTensor(aTile, a.a, [index * 64, 0], full, 0)
      copyTensor(bTile, a.b, [index * c.columns, 0], full, 0)
    }
    waitBarrier(full, 0, 0)
    const words = loadWords(a.fragments, [index, thread, 0], 4)
    const acc = regs<number>(c.columns / 2, atom.c.dtype === 'i32' ? i32(0) : f32(0))
    // The last step of a row: every bit of the swizzle takes part.
    const first = elements - atom.k
    wgmmaFence()
    if (c.from === 'registers') wgmma(atom, acc, words, matrixOperand(bTile, [0, first]), false)
    else wgmma(atom, acc, matrixOperand(aTile, [0, first]), matrixOperand(bTile, [0, first]), false)
    wgmmaCommit()
    wgmmaWait(0)
    for (const i of unroll(c.columns / 2)) a.out.put(acc[i]!, index, thread, i)
  },
)

export interface TileConfig {
  readonly dtype: DType
  readonly rows: number
  readonly columns: number
}

/** What the copy engine makes of a tile, in the order of addresses. */
export const tiles = kernel(
  import.meta.url,
  { grid: () => [1], block: [128] },
  function tiles(a: { x: In<Elem<'dtype'>, 'Rows Columns'>; out: Out<u32, 'Words'> }, c: TileConfig) {
    const tile = shared<number>(c.dtype, swizzledTile([c.rows, c.columns], c.dtype))
    const bytes = c.dtype === 'f16' ? 2 : 1
    const words = (c.rows * c.columns * bytes) / 4
    const raw = overlay<u32>(tile, 'u32', [words])
    const full = barriers(1)
    if (threadIdx.x === 0) {
      initBarrier(full, 0, 1)
      fenceBarrierInit()
    }
    barrier()
    if (threadIdx.x === 0) {
      arriveExpecting(full, 0, 4 * words)
      // Beyond the last row and column, and before the first: zeros.
      copyTensor(tile, a.x, [-3, -16 / bytes], full, 0)
    }
    waitBarrier(full, 0, 0)
    for (const i of unroll(words / 128)) a.out.put(raw.at(128 * i + threadIdx.x), 128 * i + threadIdx.x)
  },
)

/** What `stmatrix` makes of fragments, in the order of addresses: rows of 16 bytes, 32 of them a CTA. */
export const matrices = kernel(
  import.meta.url,
  { grid: (d) => [d.Cases!], block: [32] },
  function matrices(
    a: { x: In<u32, 'Cases 32 4'>; out: Out<u32, 'Cases 128'> },
    c: { readonly count: 1 | 2 | 4; readonly transposed: boolean },
  ) {
    const tile = shared<number>('f16', [32, 8])
    const raw = overlay<u32>(tile, 'u32', [128])
    const lane = threadIdx.x
    const words = loadWords(a.x, [blockIdx.x, lane, 0], 4)
    storeWords(raw, [4 * lane], [0, 0, 0, 0])
    barrier()
    const options = { transposed: c.transposed }
    // Rows in an order of their own.
    if (c.count === 1) stmatrix(tile, [lane ^ 5, 0], [words[0]!], options)
    else if (c.count === 2) stmatrix(tile, [lane ^ 5, 0], [words[0]!, words[1]!], options)
    else stmatrix(tile, [lane ^ 5, 0], words, options)
    barrier()
    storeWords(a.out, [blockIdx.x, 4 * lane], loadWords(raw, [4 * lane], 4))
    fenceAsync()
  },
)

/** Pairs of 8-bit floats of f32 numbers, and the halves of those pairs. */
export const conversions = kernel(
  import.meta.url,
  { grid: (d) => [Math.ceil(d.N! / 128)], block: [128] },
  function conversions(
    a: { x: In<f32, 'N 2'>; packed: Out<u32, 'N'>; halves: Out<f16, 'N 2'> },
    c: { readonly type: 'e4m3' | 'e5m2' },
  ) {
    const i = blockIdx.x * 128 + threadIdx.x
    if (i < a.packed.dim('N')) {
      const pair = packFp8(c.type, a.x.at(i, 0), a.x.at(i, 1))
      a.packed.put(pair, i)
      // Every code, the low byte of the number itself among them.
      const halves = unpack2(unpackFp8(c.type, u32(i & 0xffff)))
      a.halves.put(halves[0], i, 0)
      a.halves.put(halves[1], i, 1)
    }
  },
)
