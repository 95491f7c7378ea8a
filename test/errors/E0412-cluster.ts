import { type f32, kernel, type Out, threadIdx } from '../../dsl/index.ts'

// target: sm_90a
// cluster: 3

export const bad = kernel(
  import.meta.url,
  { grid: () => [3], block: [32], cluster: () => 3 },
  function bad(a: { out: Out<f32, 'N'> }) {
    a.out.put(1, threadIdx.x)
  },
)

/*
E0412  a cluster of 3 CTAs is not possible  test/errors/E0412-cluster.ts:9:3
   8 │   { grid: () => [3], block: [32], cluster: () => 3 },
   9 │   function bad(a: { out: Out<f32, 'N'> }) {
     │   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  the cluster option gives 1, 2, 4 or 8 CTAs
*/
