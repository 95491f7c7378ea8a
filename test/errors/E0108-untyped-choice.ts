import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x
    const step = i < 16 ? 1 : 2
    a.out.put(1, i + step)
  },
)

/*
E0108  which type have 1 and 2? A run-time condition chooses between them  test/errors/E0108-untyped-choice.ts:8:18
   7 │     const i = threadIdx.x
   8 │     const step = i < 16 ? 1 : 2
     │                  ^^^^^^^^^^^^^^
     └ help  i32(1) or f32(1)
*/
