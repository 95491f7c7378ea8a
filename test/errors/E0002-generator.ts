import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

function* indices() {
  yield 0
}

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    for (const i of indices()) a.out.put(1, i)
  },
)

/*
E0002  a generator is not part of the kernel language  test/errors/E0002-generator.ts:3:1
   3 │ function* indices() {
     │ ^^^^^^^^^^^^^^^^^^^^^
     └ help  pass a function that takes each value
*/
