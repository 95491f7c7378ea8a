import {
  barrier,
  fenceAsync,
  type In,
  type i8,
  i32,
  idiv,
  kernel,
  loadWords,
  matrixOperand,
  namedArrive,
  namedBarrier,
  type Out,
  range,
  regs,
  shared,
  specialize,
  storeWords,
  swizzledTile,
  threadIdx,
  type u32,
  unroll,
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaFence,
  wgmmaWait,
} from '../../dsl/index.ts'

/** A producer warpgroup fills a tile that a consumer multiplies 4-bit weights with, two groups of `wgmma` in turns. */
export const warpgroupProduct = kernel(
  import.meta.url,
  { grid: () => [1], block: [256] },
  function warpgroupProduct(a: { w: In<u32, 'K 512'>; x: In<i8, '16 128'>; out: Out<i32, '16 64'> }) {
    const tile = shared<i8>('i8', swizzledTile([2, 16, 128], 'i8'))
    const atom = wgmmaAtom(16, 'u8s8')
    specialize({
      consumer: {
        warps: 4,
        registers: 240,
        run: () => {
          const acc = regs(atom.c.registers, i32(0))
          namedBarrier(1, 256)
          for (const k of range(0, a.w.dim('K'), 2)) {
            for (const buffer of unroll(2)) {
              const words = loadWords(a.w, [k + buffer, 4 * threadIdx.x], 4)
              const low = words.map((word) => word & 0x0f0f0f0f)
              const high = words.map((word) => (word >>> 4) & 0x0f0f0f0f)
              wgmmaFence()
              wgmma(atom, acc, low, matrixOperand(tile.row(k & 1), [0, 64 * buffer]), k + buffer > 0)
              wgmma(atom, acc, high, matrixOperand(tile.row(k & 1), [0, 64 * buffer + 32]), true)
              wgmmaCommit()
              wgmmaWait(1)
            }
          }
          wgmmaWait(0)
          for (const i of acc.keys()) {
            const at = atom.c.layout(threadIdx.x, i) as i32
            a.out.put(acc[i], at >> 6, at & 63)
          }
        },
      },
      producer: {
        warps: 4,
        registers: 40,
        run: () => {
          const i = threadIdx.x & 127
          for (const stage of unroll(2)) {
            storeWords(tile, [stage, idiv(i, 8), 16 * (i & 7)], loadWords(a.x, [idiv(i, 8), 16 * (i & 7)], 4))
          }
          fenceAsync()
          namedArrive(1, 256)
        },
      },
    })
    barrier()
  },
)
