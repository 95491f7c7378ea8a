import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

import { twice } from './not-shipped.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(twice(a.x.at(0)), threadIdx.x)
  },
)

/*
E0003  the source of './not-shipped.ts' is missing  test/errors/E0003-missing-source.ts:3:10
   3 │ import { twice } from './not-shipped.ts'
     │          ^^^^^
     └ help  kernels are compiled from source: ship the .ts files with the program, and do not bundle them
*/
