import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    if (threadIdx.x == 0) a.out.put(1, 0)
  },
)

/*
E0002  == is not part of the kernel language  test/errors/E0002-loose-equality.ts:7:9
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     if (threadIdx.x == 0) a.out.put(1, 0)
     │         ^^^^^^^^^^^^^^^^
     └ help  write ===
*/
