import { type f32, type In, kernel, type Out, rsqr, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(rsqr(a.x.at(0)), threadIdx.x)
  },
)

/*
E0007  'rsqr' does not exist inside a kernel  test/errors/E0007-unknown-intrinsic.ts:7:15
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.put(rsqr(a.x.at(0)), threadIdx.x)
     │               ^^^^
     └ help  did you mean 'rsqrt'?
*/
