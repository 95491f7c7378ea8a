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
  wgmmaFence,
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
    wgmmaFence()
    wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), false)
    wgmmaCommit()
  },
)

/*
E0608  the kernel may end before this wgmma does  test/errors/E0608-end.ts:30:5
  29 │     wgmmaFence()
  30 │     wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), false)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  wgmmaWait(0) behind the last of them
*/
