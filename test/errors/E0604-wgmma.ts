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
  wgmmaWait,
} from '../../dsl/index.ts'

// block: [128]
// target: sm_100a
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
    wgmmaWait(0)
    a.out.put(acc[0], threadIdx.x)
  },
)

/*
E0604  wgmma.fence.sync.aligned is an instruction of compute capability 9.0 alone, and sm_100a has 10.0  test/errors/E0604-wgmma.ts:30:5
  29 │     const words = [0, 1, 2, 3].map((q) => a.x.at(4 * threadIdx.x + q))
  30 │     wgmmaFence()
     │     ^^^^^^^^^^^^
     └ help  compile for sm_90a, or branch on target.capability
*/
