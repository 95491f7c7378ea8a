import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    var i = threadIdx.x
    a.out.put(1, i)
  },
)

/*
E0002  var is not part of the kernel language  test/errors/E0002-var.ts:7:5
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     var i = threadIdx.x
     │     ^^^^^^^^^^^^^^^^^^^
     └ help  use const, or let for what is assigned again
*/
