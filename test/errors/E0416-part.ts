import { barriers, blockIdx, copyTensor, type f16, type In, kernel, shared, swizzledTile } from '../../dsl/index.ts'

// target: sm_90a

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f16, 'B M K'> }) {
    const tile = shared<f16>('f16', swizzledTile([64, 64], 'f16'))
    const full = barriers(1)
    copyTensor(tile, a.x.row(blockIdx.x), [0, 0], full, 0)
  },
)

/*
E0416  the copy engine takes all of x as rows and columns, not a part of it  test/errors/E0416-part.ts:11:5
  10 │     const full = barriers(1)
  11 │     copyTensor(tile, a.x.row(blockIdx.x), [0, 0], full, 0)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  the tensor x: In<f16, 'B M K'>
     └ help  give the tensor itself, and add the row to the origin: leading dimensions count as rows
*/
