import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.putt(1, threadIdx.x)
  },
)

/*
E0007  the tensor out: Out<f32, 'N'> has no 'putt'  test/errors/E0007-unknown-member.ts:7:11
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.putt(1, threadIdx.x)
     │           ^^^^
     └ help  did you mean 'put'?
*/
