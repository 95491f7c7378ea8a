import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(rsqrt(a.x.at(threadIdx.x)), threadIdx.x)
  },
)

/*
E0006  'rsqrt' is not defined  test/errors/E0006-not-imported.ts:7:15
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.put(rsqrt(a.x.at(threadIdx.x)), threadIdx.x)
     │               ^^^^^
     └ help  import { rsqrt } from 'quattuor'
*/
