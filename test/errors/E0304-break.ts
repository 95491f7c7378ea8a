import { type f32, type In, kernel, type Out, threadIdx, unroll } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    for (const i of unroll(8)) {
      if (a.x.at(i) > 0) break
      a.out.put(1, i)
    }
  },
)

/*
E0304  break leaves an unrolled loop on a run-time condition  test/errors/E0304-break.ts:8:26
   7 │     for (const i of unroll(8)) {
   8 │       if (a.x.at(i) > 0) break
     │                          ^^^^^
     └ help  use a run-time loop, for (const i of range(n)), or put the rest of the body into an if
*/
