import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(a.out.at(threadIdx.x) + 1, threadIdx.x)
  },
)

/*
E0403  out is an Out tensor, and this reads it  test/errors/E0403-load-from-out.ts:7:15
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.put(a.out.at(threadIdx.x) + 1, threadIdx.x)
     │               ^^^^^^^^^^^^^^^^^^^^^
     └ help  declare it out: InOut<…>, or keep the value in a register
*/
