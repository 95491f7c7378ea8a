import { type f32, type In, kernel, type Out, range, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const total: f32 = a.x.at(0)
    for (const i of range(4)) total += a.x.at(i)
    a.out.put(total, threadIdx.x)
  },
)

/*
E0213  'total' is constant  test/errors/E0213-constant.ts:8:31
   7 │     const total: f32 = a.x.at(0)
   8 │     for (const i of range(4)) total += a.x.at(i)
     │                               ^^^^^
     └ help  declare it with let
*/
