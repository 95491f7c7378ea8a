import { copyAsync, type f16, type f32, type In, kernel, shared, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'M 64'> }) {
    const tile = shared<f16>('f16', [32, 64])
    copyAsync(tile, [threadIdx.x, 0], a.x, [threadIdx.x, 0], 16)
  },
)

/*
E0408  tile holds f16 and x holds f32  test/errors/E0408-element-types.ts:8:5
   7 │     const tile = shared<f16>('f16', [32, 64])
   8 │     copyAsync(tile, [threadIdx.x, 0], a.x, [threadIdx.x, 0], 16)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  the tile tile: f16 (32,64):(64,1)
     ├ note  the tensor x: In<f32, 'M 64'>
     └ help  shared('f32', …)
*/
