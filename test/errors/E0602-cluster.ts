import { clusterBarrier, type f32, kernel, type Out, threadIdx, warpIdx } from '../../dsl/index.ts'

// block: [64]
// cluster: 2
// target: sm_90a

export const bad = kernel(
  import.meta.url,
  { grid: () => [2], block: [64], cluster: () => 2 },
  function bad(a: { out: Out<f32, 'N'> }) {
    if (warpIdx === 0) {
      a.out.put(1, threadIdx.x)
      clusterBarrier()
    }
  },
)

/*
E0602  clusterBarrier() must be reached by all threads of the cluster together, and is not  test/errors/E0602-cluster.ts:13:7
  12 │       a.out.put(1, threadIdx.x)
  13 │       clusterBarrier()
     │       ^^^^^^^^^^^^^^^^
     ├ note  this condition differs between warps  test/errors/E0602-cluster.ts:11:5
     └ help  move clusterBarrier() out of the condition, and leave only the work under it
*/
