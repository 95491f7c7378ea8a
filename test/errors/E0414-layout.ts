import { type In, kernel, type Out, threadIdx, type u32 } from '../../dsl/index.ts'

const fragment = (w: In<u32, string, 'mma-w4'>): u32 => w.at(0, threadIdx.x)

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { w: In<u32, 'N K'>; out: Out<u32, 'N'> }) {
    a.out.put(fragment(a.w), threadIdx.x)
  },
)

/*
E0414  expected the layout 'mma-w4', and w lies in 'row'  test/errors/E0414-layout.ts:9:24
   8 │   function bad(a: { w: In<u32, 'N K'>; out: Out<u32, 'N'> }) {
   9 │     a.out.put(fragment(a.w), threadIdx.x)
     │                        ^^^
     ├ note  the parameter  test/errors/E0414-layout.ts:3:22
     ├ note  the tensor w: In<u32, 'N K'>
     ├ in    fragment, called at test/errors/E0414-layout.ts:9:15
     └ help  pass a tensor packed as 'mma-w4', or a function that reads 'row'
*/
