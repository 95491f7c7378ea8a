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
  warpIdx,
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaFence,
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
    if (warpIdx < 2) {
      wgmmaFence()
      wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), false)
      wgmmaCommit()
      wgmmaWait(0)
      a.out.put(acc[0], threadIdx.x)
    }
  },
)

/*
E0605  wgmmaFence() must be reached by all warps of the warpgroup together, and is not  test/errors/E0605-warpgroup.ts:32:7
  31 │     if (warpIdx < 2) {
  32 │       wgmmaFence()
     │       ^^^^^^^^^^^^
     ├ note  this condition differs between warps  test/errors/E0605-warpgroup.ts:31:5
     └ help  move wgmmaFence() out of the condition, and leave only the work under it
*/
