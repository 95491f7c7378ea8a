import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

// config: {"head": 4}
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { readonly head: number; readonly heads: number }) {
    a.out.put(c.heads, threadIdx.x)
  },
)

/*
E0401  the configuration has no constant 'heads'  test/errors/E0401-missing-constant.ts:8:17
   7 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { readonly head: number; readonly heads: number }) {
   8 │     a.out.put(c.heads, threadIdx.x)
     │                 ^^^^^
     └ help  did you mean 'head'?
*/
