import { barrier, type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    if (threadIdx.x < 16) {
      barrier()
      a.out.put(1, threadIdx.x)
    }
  },
)

/*
E0602  barrier() must be reached by all threads of the block together, and is not  test/errors/E0602-barrier.ts:8:7
   7 │     if (threadIdx.x < 16) {
   8 │       barrier()
     │       ^^^^^^^^^
     ├ note  this condition differs between the lanes of a warp  test/errors/E0602-barrier.ts:7:5
     └ help  move barrier() out of the condition, and leave only the work under it
*/
