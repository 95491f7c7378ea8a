import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    if (threadIdx.x === 0) throw new Error('no')
    a.out.put(1, threadIdx.x)
  },
)

/*
E0002  throw is not part of the kernel language  test/errors/E0002-throw.ts:7:28
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     if (threadIdx.x === 0) throw new Error('no')
     │                            ^^^^^^^^^^^^^^^^^^^^^
     └ help  staticAssert(condition, why) refuses a configuration
*/
