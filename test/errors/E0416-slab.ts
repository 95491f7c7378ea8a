import { barriers, copyTensor, type i8, type In, kernel, shared, swizzledTile } from '../../dsl/index.ts'

// target: sm_90a

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<i8, 'M K'> }) {
    const tile = shared<i8>('i8', swizzledTile([2, 64, 128], 'i8'))
    const full = barriers(1)
    copyTensor(tile, a.x, [0, 64], full, 0)
  },
)

/*
E0416  a tile of slabs begins at a multiple of their 128 columns, not at 64  test/errors/E0416-slab.ts:11:27
  10 │     const full = barriers(1)
  11 │     copyTensor(tile, a.x, [0, 64], full, 0)
     │                           ^^^^^^^
     └ help  to begin elsewhere, copy the slabs one by one: tile.row(slab)
*/
