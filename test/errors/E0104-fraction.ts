import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x
    a.out.put(a.x.at(i), i * 0.5)
  },
)

/*
E0104  0.5 is not an integer, and the type here is i32  test/errors/E0104-fraction.ts:8:26
   7 │     const i = threadIdx.x
   8 │     a.out.put(a.x.at(i), i * 0.5)
     │                          ^^^^^^^
     └ help  round it, or convert the other side with f32(…)
*/
