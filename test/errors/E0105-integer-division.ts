import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x
    a.out.put(a.x.at(i / 2), i)
  },
)

/*
E0105  integer division truncates; say which you mean  test/errors/E0105-integer-division.ts:8:22
   7 │     const i = threadIdx.x
   8 │     a.out.put(a.x.at(i / 2), i)
     │                      ^^^^^
     └ help  idiv(i, 2)   or   f32(i) / f32(2)
*/
