import { barriers, copyTensor, type f16, type In, kernel, shared, swizzledTile } from '../../dsl/index.ts'

// target: sm_90a

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f16, 'M K'> }) {
    const tile = shared<f16>('f16', swizzledTile([320, 64], 'f16'))
    const full = barriers(1)
    copyTensor(tile, a.x, [0, 0], full, 0)
  },
)

/*
E0416  the copy engine cannot take tile: it has 320 rows, and one copy takes 256  test/errors/E0416-rows.ts:11:5
  10 │     const full = barriers(1)
  11 │     copyTensor(tile, a.x, [0, 0], full, 0)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  the tile tile: f16 Sw<3,3,3>o(320,64):(64,1)
     └ help  copy it in several parts, a leading dimension for them: tile.row(part)
*/
