import { type f32, type In, kernel, type Out, staticAssert, threadIdx } from '../../dsl/index.ts'

// config: {"H": 100}
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { readonly H: number }) {
    staticAssert(c.H % 64 === 0, `H is ${c.H}, and must be a multiple of 64`)
    a.out.put(c.H, threadIdx.x)
  },
)

/*
E0309  H is 100, and must be a multiple of 64  test/errors/E0309-static-assert.ts:8:5
   7 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { readonly H: number }) {
   8 │     staticAssert(c.H % 64 === 0, `H is ${c.H}, and must be a multiple of 64`)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ with  c.H = 100
*/
