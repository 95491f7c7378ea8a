import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

const lane = threadIdx.x % 32

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(a.x.at(lane), lane)
  },
)

/*
E0008  'lane' is a run-time value outside a kernel  test/errors/E0008-run-time-capture.ts:3:1
   3 │ const lane = threadIdx.x % 32
     │ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  compute it in the kernel, or make it a function that kernels call
*/
