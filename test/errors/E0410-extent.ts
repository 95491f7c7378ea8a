import { type f32, kernel, type Out, threadIdx } from '../../dsl/index.ts'

// config: {"H": 0}
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { out: Out<f32, 'H'> }, c: { readonly H: number }) {
    a.out.put(1, threadIdx.x)
  },
)

/*
E0410  the constant H is an extent, and is 0  test/errors/E0410-extent.ts:7:35
   6 │   { grid: () => [1], block: [32] },
   7 │   function bad(a: { out: Out<f32, 'H'> }, c: { readonly H: number }) {
     │                                   ^^^
     └ help  an extent is a positive integer
*/
