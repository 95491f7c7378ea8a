import { type i32, type i8, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<i8, 'N'>; out: Out<i32, 'N'> }) {
    const i = threadIdx.x
    a.out.put(a.x.at(i) * 2, i)
  },
)

/*
E0102  i8 is a storage type: * does not work on it  test/errors/E0102-byte-arithmetic.ts:8:15
   7 │     const i = threadIdx.x
   8 │     a.out.put(a.x.at(i) * 2, i)
     │               ^^^^^^^^^^^^^
     └ help  convert first: i32(x) * …
*/
