import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(a.x.at(0).toFixed(2), threadIdx.x)
  },
)

/*
E0007  an f32 has no 'toFixed'  test/errors/E0007-number-method.ts:7:25
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.put(a.x.at(0).toFixed(2), threadIdx.x)
     │                         ^^^^^^^
     └ help  numbers have no members here; Math.max(a, b) and f32(x) are functions
*/
