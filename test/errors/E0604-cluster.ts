import { clusterBarrier, clusterRank, type i32, kernel, type Out, threadIdx } from '../../dsl/index.ts'

// cluster: 2
// target: sm_89

export const bad = kernel(
  import.meta.url,
  { grid: () => [2], block: [32], cluster: () => 2 },
  function bad(a: { out: Out<i32, 'N'> }) {
    a.out.put(clusterRank, threadIdx.x)
    clusterBarrier()
  },
)

/*
E0604  clusters need compute capability 9.0, and sm_89 has 8.9  test/errors/E0604-cluster.ts:9:3
   8 │   { grid: () => [2], block: [32], cluster: () => 2 },
   9 │   function bad(a: { out: Out<i32, 'N'> }) {
     │   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  compile for a newer target, or let the cluster option give 1
*/
