import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.x.put(1, threadIdx.x)
  },
)

/*
E0402  x is an In tensor, and this writes it  test/errors/E0402-store-to-in.ts:7:5
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.x.put(1, threadIdx.x)
     │     ^^^^^^^^^^^^^^^^^^^^^^^
     └ help  declare it x: InOut<…>
*/
