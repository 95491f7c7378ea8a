import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

async function later(x: f32) {
  return x
}

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(later(a.x.at(0)), threadIdx.x)
  },
)

/*
E0002  an async function is not part of the kernel language  test/errors/E0002-async.ts:3:1
   3 │ async function later(x: f32) {
     │ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  copyAsync overlaps copies with work
*/
