import { type f32, type In, kernel, type Out, shared, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const tile = shared<f32>('f32', [32])
    const i = threadIdx.x
    tile[i] = a.x.at(i)
    a.out.put(1, i)
  },
)

/*
E0007  the tile tile: f32 (32):(1) has no elements in brackets  test/errors/E0007-tile-in-brackets.ts:9:5
   8 │     const i = threadIdx.x
   9 │     tile[i] = a.x.at(i)
     │     ^^^^^^^
     └ help  read tile.at(i), write tile.put(value, i)
*/
