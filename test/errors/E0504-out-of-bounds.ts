import { type f32, type In, kernel, load, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const values = load(a.x, [0], 4)
    a.out.put(values[4]!, threadIdx.x)
  },
)

/*
E0504  index 4 is outside an array of 4  test/errors/E0504-out-of-bounds.ts:8:15
   7 │     const values = load(a.x, [0], 4)
   8 │     a.out.put(values[4]!, threadIdx.x)
     │               ^^^^^^^^^
     └ help  indices go from 0 to 3
*/
