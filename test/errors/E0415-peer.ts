import { type i32, kernel, type Out, shared, threadIdx } from '../../dsl/index.ts'

// target: sm_90a

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { out: Out<i32, 'N'> }) {
    const tile = shared<i32>('i32', [32])
    a.out.put(tile.peer(1).at(threadIdx.x), threadIdx.x)
  },
)

/*
E0415  peer(rank) names other CTAs of a cluster, and this kernel has none  test/errors/E0415-peer.ts:10:15
   9 │     const tile = shared<i32>('i32', [32])
  10 │     a.out.put(tile.peer(1).at(threadIdx.x), threadIdx.x)
     │               ^^^^^^^^^^^^
     └ help  say how many CTAs a cluster has in the options of the kernel: cluster: () => 2
*/
