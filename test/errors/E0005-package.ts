import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

import clamp from 'lodash.clamp'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(clamp(a.x.at(0), 0, 1), threadIdx.x)
  },
)

/*
E0005  a kernel cannot use the module 'lodash.clamp'  test/errors/E0005-package.ts:3:8
   3 │ import clamp from 'lodash.clamp'
     │        ^^^^^
     └ help  kernels use relative imports and the package quattuor
*/
