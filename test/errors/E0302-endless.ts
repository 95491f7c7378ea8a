import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    let i = 1
    while (i > 0) i += 1
    a.out.put(i, threadIdx.x)
  },
)

/*
E0302  this does not end while compiling  test/errors/E0302-endless.ts:8:5
   7 │     let i = 1
   8 │     while (i > 0) i += 1
     │     ^^^^^^^^^^^^^^^^^^^^
     └ help  a loop over static values must end; use range(…) for a run-time loop
*/
