import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x
    const value = i < 4 ? a.x.at(i) : i
    a.out.put(value, i)
  },
)

/*
E0101  a run-time condition cannot choose between an f32 and an i32  test/errors/E0101-choice.ts:8:19
   7 │     const i = threadIdx.x
   8 │     const value = i < 4 ? a.x.at(i) : i
     │                   ^^^^^^^^^^^^^^^^^^^^^
     └ help  convert one: f32(…) or i32(…)
*/
