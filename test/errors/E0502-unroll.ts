import { type f32, type In, kernel, type Out, threadIdx, unroll } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    for (const i of unroll(a.x.dim('N'))) a.out.put(1, i)
  },
)

/*
E0502  unroll needs a static bound, and this is an i32  test/errors/E0502-unroll.ts:7:28
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     for (const i of unroll(a.x.dim('N'))) a.out.put(1, i)
     │                            ^^^^^^^^^^^^
     └ help  for (const i of range(n)) loops at run time
*/
