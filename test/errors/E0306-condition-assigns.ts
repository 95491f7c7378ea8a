import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    let i = threadIdx.x
    while ((i += 1) < 64) a.out.put(1, i)
  },
)

/*
E0306  the condition of a run-time loop cannot assign  test/errors/E0306-condition-assigns.ts:8:12
   7 │     let i = threadIdx.x
   8 │     while ((i += 1) < 64) a.out.put(1, i)
     │            ^^^^^^^^^^^^^
     └ help  assign in the body, and test the variable here
*/
