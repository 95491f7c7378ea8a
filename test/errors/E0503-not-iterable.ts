import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    for (const i of threadIdx.x) a.out.put(1, i)
  },
)

/*
E0503  an i32 is not an array  test/errors/E0503-not-iterable.ts:7:21
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     for (const i of threadIdx.x) a.out.put(1, i)
     │                     ^^^^^^^^^^^
     └ help  for (const i of range(n)) loops at run time
*/
