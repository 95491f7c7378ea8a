import { type f32, fma, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(fma(a.x.at(0), 2), threadIdx.x)
  },
)

/*
E0501  fma takes 3 arguments, not 2  test/errors/E0501-arguments.ts:7:15
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.put(fma(a.x.at(0), 2), threadIdx.x)
     │               ^^^^^^^^^^^^^^^^^
*/
