import { type f32, i32, type In, kernel, type Out, threadIdx, unroll } from '../../dsl/index.ts'

function firstPositive(x: In<f32, string>): i32 {
  for (const i of unroll(8)) {
    if (x.at(i) > 0) return i32(i)
  }
  return i32(-1)
}

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(1, firstPositive(a.x))
  },
)

/*
E0303  this return depends on a run-time condition in a loop or switch  test/errors/E0303-return-in-unrolled-loop.ts:5:5
   4 │   for (const i of unroll(8)) {
   5 │     if (x.at(i) > 0) return i32(i)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ with  i = 0
     ├ in    firstPositive, called at test/errors/E0303-return-in-unrolled-loop.ts:14:18
     └ help  keep the result in a variable: let found: i32 = -1, assign it in the loop, and return it at the end
*/
