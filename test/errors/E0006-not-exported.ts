import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

import { warpTotal } from '../../dsl/std/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(warpTotal(a.x.at(threadIdx.x)), threadIdx.x)
  },
)

/*
E0006  'warpTotal' is not exported by ../../dsl/std/index.ts  test/errors/E0006-not-exported.ts:3:10
   3 │ import { warpTotal } from '../../dsl/std/index.ts'
     │          ^^^^^^^^^
*/
