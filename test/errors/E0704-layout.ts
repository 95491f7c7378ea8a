import {
  i32,
  type i8,
  type In,
  kernel,
  matrixOperand,
  type Out,
  regs,
  shared,
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
    const tile = shared<i8>('i8', [64, 128])
    const atom = wgmmaAtom(64, 'u8s8')
    const acc = regs(32, i32(0))
    wgmma(atom, acc, matrixOperand(tile, [0, 0]), matrixOperand(tile, [0, 0]), false)
  },
)

/*
E0704  wgmma reads tiles of 32, 64 or 128 bytes a row in the layout of swizzledTile  test/errors/E0704-layout.ts:24:36
  23 │     const acc = regs(32, i32(0))
  24 │     wgmma(atom, acc, matrixOperand(tile, [0, 0]), matrixOperand(tile, [0, 0]), false)
     │                                    ^^^^
     ├ note  the tile tile: i8 (64,128):(128,1)
     └ help  shared('i8', swizzledTile([rows, 128], 'i8'))
*/
