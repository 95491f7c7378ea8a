import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const v = a.x.at(threadIdx.x)
    console.log(v)
    a.out.put(v, threadIdx.x)
  },
)

/*
E0006  'console' is not defined  test/errors/E0006-console.ts:8:5
   7 │     const v = a.x.at(threadIdx.x)
   8 │     console.log(v)
     │     ^^^^^^^
     └ help  a kernel cannot print: put what you want to see into an Out tensor, and read it on the host
*/
