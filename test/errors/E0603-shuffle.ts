import { type f32, type In, kernel, type Out, shuffleXor, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const x = a.x.at(threadIdx.x)
    if (x > 0) a.out.put(shuffleXor(x, 1), threadIdx.x)
  },
)

/*
E0603  a shuffle must be reached by all lanes of the warp together, and is not  test/errors/E0603-shuffle.ts:8:26
   7 │     const x = a.x.at(threadIdx.x)
   8 │     if (x > 0) a.out.put(shuffleXor(x, 1), threadIdx.x)
     │                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  this condition differs between the lanes of a warp  test/errors/E0603-shuffle.ts:8:5
     └ help  move a shuffle out of the condition, and leave only the work under it
*/
