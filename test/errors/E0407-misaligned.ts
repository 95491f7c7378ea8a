import { copyAsync, type f16, type In, kernel, shared, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f16, 'M 64'> }) {
    const tile = shared<f16>('f16', [32, 36])
    copyAsync(tile, [threadIdx.x, 0], a.x, [threadIdx.x, 0], 16)
  },
)

/*
E0407  16 bytes of tile are not aligned or not side by side here  test/errors/E0407-misaligned.ts:8:5
   7 │     const tile = shared<f16>('f16', [32, 36])
   8 │     copyAsync(tile, [threadIdx.x, 0], a.x, [threadIdx.x, 0], 16)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  the tile tile: f16 (32,36):(36,1)
     └ help  rows and static offsets must be multiples of 16 bytes, and a swizzle must keep 16 bytes together
*/
