import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(Math.exp(a.x.at(0)), threadIdx.x)
  },
)

/*
E0505  Math.exp runs while compiling, and its argument is a run-time value  test/errors/E0505-static-function.ts:7:15
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.put(Math.exp(a.x.at(0)), threadIdx.x)
     │               ^^^^^^^^^^^^^^^^^^^
     └ help  exp2(x * LOG2E) approximates it in one instruction
*/
