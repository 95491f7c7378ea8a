import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    for (const key in { x: 1 }) a.out.put(Number(key), 0)
  },
)

/*
E0002  for … in is not part of the kernel language  test/errors/E0002-for-in.ts:7:5
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     for (const key in { x: 1 }) a.out.put(Number(key), 0)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  iterate Object.keys(…) with for … of
*/
