import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

const first: number = second + 1
const second: number = first + 1

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(first, threadIdx.x)
  },
)

/*
E0009  'first' is defined by itself  test/errors/E0009-circular.ts:4:24
   3 │ const first: number = second + 1
   4 │ const second: number = first + 1
     │                        ^^^^^
*/
