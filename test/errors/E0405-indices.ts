import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'M K'>; out: Out<f32, 'M'> }) {
    a.out.put(a.x.at(threadIdx.x), threadIdx.x)
  },
)

/*
E0405  x has 2 dimensions here, and the indices given are 1  test/errors/E0405-indices.ts:7:15
   6 │   function bad(a: { x: In<f32, 'M K'>; out: Out<f32, 'M'> }) {
   7 │     a.out.put(a.x.at(threadIdx.x), threadIdx.x)
     │               ^^^^^^^^^^^^^^^^^^^
     └ note  the tensor x: In<f32, 'M K'>
*/
