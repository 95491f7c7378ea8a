import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const index = threadIdx.x
    a.out.put(a.x.at(indx), index)
  },
)

/*
E0006  'indx' is not defined  test/errors/E0006-unknown-name.ts:8:22
   7 │     const index = threadIdx.x
   8 │     a.out.put(a.x.at(indx), index)
     │                      ^^^^
     └ help  did you mean 'index'?
*/
