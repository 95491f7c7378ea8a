import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

// config: {"bias": false}
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; bias?: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { readonly bias: boolean }) {
    a.out.put(a.x.at(threadIdx.x) + a.bias.at(0), threadIdx.x)
  },
)

/*
E0413  the argument bias is absent in this configuration  test/errors/E0413-absent.ts:8:37
   7 │   function bad(a: { x: In<f32, 'N'>; bias?: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { readonly bias: boolean }) {
   8 │     a.out.put(a.x.at(threadIdx.x) + a.bias.at(0), threadIdx.x)
     │                                     ^^^^^^^^^
     └ help  guard it, if (c.bias) …, or pass { bias: true }
*/
