import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    try {
      a.out.put(1, threadIdx.x)
    } catch {}
  },
)

/*
E0002  try is not part of the kernel language  test/errors/E0002-try.ts:7:5
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     try {
     │     ^^^^^
     └ help  nothing throws on a GPU; test a condition
*/
