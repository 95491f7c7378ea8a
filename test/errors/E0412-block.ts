import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

// block: [2048]
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(1, threadIdx.x)
  },
)

/*
E0412  a CTA of 2048 × 1 × 1 threads is not possible  test/errors/E0412-block.ts:7:3
   6 │   { grid: () => [1], block: [32] },
   7 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
     │   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  the block option gives 1 to 1024 threads
*/
