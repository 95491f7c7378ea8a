import { type i32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<i32, 'N'>; out: Out<i32, 'N'> }) {
    const i = threadIdx.x
    a.out.put(a.x.at(i) & 0xf0f0f0f0, i)
  },
)

/*
E0104  4042322160 does not fit i32  test/errors/E0104-too-large.ts:8:15
   7 │     const i = threadIdx.x
   8 │     a.out.put(a.x.at(i) & 0xf0f0f0f0, i)
     │               ^^^^^^^^^^^^^^^^^^^^^^
     └ help  use u32 values: u32(…)
*/
