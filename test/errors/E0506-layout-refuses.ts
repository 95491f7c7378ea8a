import { type f32, type In, kernel, layout, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const tile = layout([4, 8], [1])
    a.out.put(1, tile(threadIdx.x % 4, 0))
  },
)

/*
E0506  layout((4,8), (1)): shape and stride must nest alike  test/errors/E0506-layout-refuses.ts:7:18
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     const tile = layout([4, 8], [1])
     │                  ^^^^^^^^^^^^^^^^^^^
*/
