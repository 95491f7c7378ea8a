import { barriers, copyTensor, type f16, type In, kernel, layout, shared } from '../../dsl/index.ts'

// target: sm_90a

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f16, 'M K'> }) {
    const padded = shared<f16>('f16', layout([64, 64], [72, 1]))
    const full = barriers(1)
    copyTensor(padded, a.x, [0, 0], full, 0)
  },
)

/*
E0416  the copy engine cannot take padded: its layout is neither row-major nor swizzled over the bytes of a row  test/errors/E0416-layout.ts:11:5
  10 │     const full = barriers(1)
  11 │     copyTensor(padded, a.x, [0, 0], full, 0)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  the tile padded: f16 (64,64):(72,1)
     └ help  shared('f16', swizzledTile([64, 64], 'f16'))
*/
