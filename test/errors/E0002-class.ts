import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    class Sum {
      total = 0
    }
    a.out.put(1, threadIdx.x)
  },
)

/*
E0002  a class is not part of the kernel language  test/errors/E0002-class.ts:7:5
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     class Sum {
     │     ^^^^^^^^^^^
     └ help  use functions and plain objects
*/
