import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(a.y.at(0), threadIdx.x)
  },
)

/*
E0007  the kernel has no argument 'y'  test/errors/E0007-unknown-argument.ts:7:17
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.put(a.y.at(0), threadIdx.x)
     │                 ^
     └ help  did you mean 'x'?
*/
