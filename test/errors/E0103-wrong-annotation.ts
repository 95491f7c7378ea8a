import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x
    const scaled: f32 = i * 2
    a.out.put(scaled, i)
  },
)

/*
E0103  expected f32, got i32  test/errors/E0103-wrong-annotation.ts:8:25
   7 │     const i = threadIdx.x
   8 │     const scaled: f32 = i * 2
     │                         ^^^^^
     └ help  convert it: f32(…)
*/
