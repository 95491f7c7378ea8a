import { barriers, copyTensor, type i8, type In, kernel, shared, swizzledTile } from '../../dsl/index.ts'

// target: sm_90a

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<i8, 'M K'> }) {
    const tile = shared<i8>('i8', swizzledTile([64, 128], 'i8'))
    const full = barriers(1)
    copyTensor(tile, a.x, [0, 0], full, 0, { multicast: 3 })
  },
)

/*
E0415  multicast names other CTAs of a cluster, and this kernel has none  test/errors/E0415-multicast.ts:11:44
  10 │     const full = barriers(1)
  11 │     copyTensor(tile, a.x, [0, 0], full, 0, { multicast: 3 })
     │                                            ^^^^^^^^^^^^^^^^
     └ help  say how many CTAs a cluster has in the options of the kernel: cluster: () => 2
*/
