import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    if (threadIdx.x < a.x.dim('M')) a.out.put(1, threadIdx.x)
  },
)

/*
E0404  x has no dimension 'M'  test/errors/E0404-unknown-word.ts:7:31
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     if (threadIdx.x < a.x.dim('M')) a.out.put(1, threadIdx.x)
     │                               ^^^
     └ help  its dimensions are N
*/
