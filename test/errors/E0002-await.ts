import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(await a.x.at(0), 0)
  },
)

/*
E0002  await is not part of the kernel language  test/errors/E0002-await.ts:7:15
   6 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
   7 │     a.out.put(await a.x.at(0), 0)
     │               ^^^^^^^^^^^^^^^
     └ help  copyAsync, commitCopies and waitCopies overlap copies with work
*/
