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
    wgmma(atom, acc, words, matrixOperand(tile, [0, 16]), false)
  },
)

/*
E0704  the column of a matrix operand is a static multiple of 32 bytes inside the row, and this is 16 bytes of 128  test/errors/E0704-column.ts:27:49
  26 │     const words = [0, 1, 2, 3].map((q) => a.x.at(4 * threadIdx.x + q))
  27 │     wgmma(atom, acc, words, matrixOperand(tile, [0, 16]), false)
     │                                                 ^^^^^^^
     ├ note  the tile tile: i8 Sw<3,4,3>o(64,128):(128,1)
     └ help  of i8, a multiple of 32 below 128; unroll the loop over k
*/
