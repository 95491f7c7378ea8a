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
    const words = [0, 1, 2, 3].map((q) => a.x.at(4 * threadIdx.x + q))
    wgmmaFence()
    for (const k of range(4)) {
      wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), k > 0)
      wgmmaCommit()
      wgmmaWait(0)
      a.out.put(acc[0], threadIdx.x)
    }
  },
)

/*
E0607  no wgmmaFence stands between an access to accumulators and this wgmma  test/errors/E0607-fence.ts:33:7
  32 │     for (const k of range(4)) {
  33 │       wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), k > 0)
     │       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  an access to accumulators  test/errors/E0607-fence.ts:36:7
     └ help  wgmmaFence() before the first wgmma of a group
*/
