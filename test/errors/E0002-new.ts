import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const table = new Map<number, number>()
    a.out.put(table.size, threadIdx.x)
  },
)

/*
E0002  new is not part of the kernel language  test/errors/E0002-new.ts:7:19
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     const table = new Map<number, number>()
     │                   ^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  arrays are written [ … ], Array.from({ length }, f) or regs(n, init)
*/
