import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    outer: for (const i of range(4)) {
      for (const j of range(4)) if (i === j) continue outer
    }
  },
)

/*
E0002  a label is not part of the kernel language  test/errors/E0002-label.ts:7:5
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     outer: for (const i of range(4)) {
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  use a boolean to leave several loops
*/
