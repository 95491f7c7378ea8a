import { type f16, type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f16, 'N'> }) {
    const i = threadIdx.x
    a.out.put(a.x.at(i), i)
  },
)

/*
E0103  expected f16, got f32  test/errors/E0103-wrong-element.ts:8:15
   7 │     const i = threadIdx.x
   8 │     a.out.put(a.x.at(i), i)
     │               ^^^^^^^^^
     └ help  convert it: f16(…)
*/
