import { type f32, type In, kernel, type Out, threadIdx, unroll } from '../../dsl/index.ts'

// config: {"H": 512}
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { readonly H: number }) {
    let sum = a.x.at(0)
    for (const i of unroll(c.H)) {
      for (const j of unroll(c.H)) sum += a.x.at(threadIdx.x + i) * a.x.at(threadIdx.x + j)
    }
    a.out.put(sum, threadIdx.x)
  },
)

/*
E0301  the kernel grows past 150000 instructions  test/errors/E0301-unroll-budget.ts:10:7
   9 │     for (const i of unroll(c.H)) {
  10 │       for (const j of unroll(c.H)) sum += a.x.at(threadIdx.x + i) * a.x.at(threadIdx.x + j)
     │       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  149996 instructions from 18819 unrolled iterations  test/errors/E0301-unroll-budget.ts:10:7
     ├ note  146909 instructions from 37 unrolled iterations  test/errors/E0301-unroll-budget.ts:9:5
     └ help  make the largest of these loops run-time loops: for (const i of range(n))
*/
