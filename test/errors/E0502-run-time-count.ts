import { type f32, type In, kernel, load, type Out, store, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    store(a.out, [0], load(a.x, [0], threadIdx.x))
  },
)

/*
E0502  the number of elements must be known while compiling, and this is an i32  test/errors/E0502-run-time-count.ts:7:38
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     store(a.out, [0], load(a.x, [0], threadIdx.x))
     │                                      ^^^^^^^^^^^
     └ help  take it from the constants: c.NAME
*/
