import { type bf16, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<bf16, 'N'>; out: Out<bf16, 'N'> }) {
    const i = threadIdx.x
    a.out.put(a.x.at(i) + a.x.at(i), i)
  },
)

/*
E0102  + does not work on bf16  test/errors/E0102-bf16-arithmetic.ts:8:15
   7 │     const i = threadIdx.x
   8 │     a.out.put(a.x.at(i) + a.x.at(i), i)
     │               ^^^^^^^^^^^^^^^^^^^^^
     └ help  convert first: f32(x) + …
*/
