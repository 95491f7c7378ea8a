import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x
    a.out.put(a.x[i], i)
  },
)

/*
E0007  the tensor x: In<f32, 'N'> has no elements in brackets  test/errors/E0007-tensor-in-brackets.ts:8:15
   7 │     const i = threadIdx.x
   8 │     a.out.put(a.x[i], i)
     │               ^^^^^^
     └ help  read a.x.at(i), write a.x.put(value, i)
*/
