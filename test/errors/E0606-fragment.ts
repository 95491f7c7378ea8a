import {
  i32,
  type i8,
  type In,
  kernel,
  matrixOperand,
  type Out,
  range,
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
// target: sm_90a
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [128] },
  function bad(a: { x: In<u32, 'N'>; out: Out<i32, 'M'> }) {
    const tile = shared<i8>('i8', swizzledTile([64, 128], 'i8'))
    const atom = wgmmaAtom(64, 'u8s8')
    const acc = regs(32, i32(0))
    for (const k of range(a.x.dim('N'))) {
      const words = [0, 1, 2, 3].map((q) => a.x.at(k + q))
      wgmmaFence()
      wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), true)
      wgmmaCommit()
      wgmmaWait(1)
    }
    wgmmaWait(0)
    a.out.put(acc[0], threadIdx.x)
  },
)

/*
E0606  this writes a register of A of a wgmma that may still run  test/errors/E0606-fragment.ts:31:45
  30 │     for (const k of range(a.x.dim('N'))) {
  31 │       const words = [0, 1, 2, 3].map((q) => a.x.at(k + q))
     │                                             ^^^^^^^^^^^^^^
     ├ note  the wgmma  test/errors/E0606-fragment.ts:33:7
     ├ in    a function, called at test/errors/E0606-fragment.ts:31:21
     └ help  wgmmaWait(0) before it, or other registers in turns
*/
