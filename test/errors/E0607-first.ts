import {
  i32,
  type i8,
  type In,
  kernel,
  matrixOperand,
  type Out,
  regs,
  shared,
  swizzledTile,
  threadIdx,
  type u32,
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaWait,
} from '../../dsl/index.ts'

// block: [128]
// target: sm_90a
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [128] },
  function bad(a: { x: In<u32, 'N'>; out: Out<i32, 'M'> }) {
    const tile = shared<i8>('i8', swizzledTile([64, 128], 'i8'))
    const atom = wgmmaAtom(64, 'u8s8')
    const acc = regs(32, i32(0))
    const words = [0, 1, 2, 3].map((q) => a.x.at(4 * threadIdx.x + q))
    wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), false)
    wgmmaCommit()
    wgmmaWait(0)
    a.out.put(acc[0], threadIdx.x)
  },
)

/*
E0607  no wgmmaFence stands between an access to A's registers and this wgmma  test/errors/E0607-first.ts:29:5
  28 │     const words = [0, 1, 2, 3].map((q) => a.x.at(4 * threadIdx.x + q))
  29 │     wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), false)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  an access to A's registers  test/errors/E0607-first.ts:28:43
     └ help  wgmmaFence() before the first wgmma of a group
*/
