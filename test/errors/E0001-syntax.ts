import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x +
    a.out.put(a.x.at(i)), i)
  },
)

/*
E0001  ',' expected.  test/errors/E0001-syntax.ts:8:28
   7 │     const i = threadIdx.x +
   8 │     a.out.put(a.x.at(i)), i)
     │                            ^
*/
