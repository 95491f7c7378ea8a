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
    wgmma(atom, acc, matrixOperand(tile, [0, 0]), matrixOperand(tile, [0, 0]), false)
  },
)

/*
E0704  m64n64k32.u8s8 takes A of u8, and tile holds i8  test/errors/E0704-type.ts:25:22
  24 │     const acc = regs(32, i32(0))
  25 │     wgmma(atom, acc, matrixOperand(tile, [0, 0]), matrixOperand(tile, [0, 0]), false)
     │                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  shared('u8', …)
*/
