import { type f32, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { names: string; out: Out<f32, 'N'> }) {
    a.out.put(1, threadIdx.x)
  },
)

/*
E0409  names cannot be an argument of a kernel  test/errors/E0409-argument.ts:6:21
   5 │   { grid: () => [1], block: [32] },
   6 │   function bad(a: { names: string; out: Out<f32, 'N'> }) {
     │                     ^^^^^^^^^^^^^^
     └ help  names: In<f32, 'N'>, Out<…>, InOut<…>, f32, i32 or u32
*/
