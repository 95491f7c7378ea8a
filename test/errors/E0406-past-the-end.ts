import { type f32, type In, kernel, load, type Out, store, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'M 64'>; out: Out<f32, 'M 64'> }) {
    store(a.out, [threadIdx.x, 0], load(a.x, [threadIdx.x, 60], 8))
  },
)

/*
E0406  8 elements from 60 leave the last dimension of x, which has 64  test/errors/E0406-past-the-end.ts:7:36
   6 │   function bad(a: { x: In<f32, 'M 64'>; out: Out<f32, 'M 64'> }) {
   7 │     store(a.out, [threadIdx.x, 0], load(a.x, [threadIdx.x, 60], 8))
     │                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ note  the tensor x: In<f32, 'M 64'>
*/
