import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    for (let i = 0; i < 8; i += threadIdx.x) a.out.put(1, i)
  },
)

/*
E0307  this condition was static in the first iteration and is a run-time value now  test/errors/E0307-condition-changes.ts:7:21
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     for (let i = 0; i < 8; i += threadIdx.x) a.out.put(1, i)
     │                     ^^^^^
     ├ with  i = 0
     └ help  give the loop variable a type, let i: i32 = 0, for a run-time loop
*/
