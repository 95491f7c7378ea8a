import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x
    if (i & 1) a.out.put(1, i)
  },
)

/*
E0107  a condition is a boolean, not i32  test/errors/E0107-not-a-condition.ts:8:9
   7 │     const i = threadIdx.x
   8 │     if (i & 1) a.out.put(1, i)
     │         ^^^^^
     └ help  compare it: (i & 1) !== 0
*/
