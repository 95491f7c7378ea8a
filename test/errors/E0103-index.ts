import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(1, a.x.at(threadIdx.x))
  },
)

/*
E0103  an index is an i32, not an f32  test/errors/E0103-index.ts:7:18
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.put(1, a.x.at(threadIdx.x))
     │                  ^^^^^^^^^^^^^^^^^^^
     └ help  convert it: i32(…)
*/
