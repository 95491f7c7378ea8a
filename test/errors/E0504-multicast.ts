import { barriers, copyTensor, type i8, type In, kernel, shared, swizzledTile } from '../../dsl/index.ts'

// target: sm_90a
// cluster: 2

export const bad = kernel(
  import.meta.url,
  { grid: () => [2], block: [32], cluster: () => 2 },
  function bad(a: { x: In<i8, 'M K'> }) {
    const tile = shared<i8>('i8', swizzledTile([64, 128], 'i8'))
    const full = barriers(1)
    copyTensor(tile, a.x, [0, 0], full, 0, { multicast: 15 })
  },
)

/*
E0504  multicast is a mask of the 2 CTAs of the cluster, 1 to 3, and not 15  test/errors/E0504-multicast.ts:12:44
  11 │     const full = barriers(1)
  12 │     copyTensor(tile, a.x, [0, 0], full, 0, { multicast: 15 })
     │                                            ^^^^^^^^^^^^^^^^^
*/
