import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const o: { x?: f32 } = { x: a.x.at(0) }
    delete o.x
    a.out.put(1, threadIdx.x)
  },
)

/*
E0002  delete is not part of the kernel language  test/errors/E0002-delete.ts:8:5
   7 │     const o: { x?: f32 } = { x: a.x.at(0) }
   8 │     delete o.x
     │     ^^^^^^^^^^
     └ help  build another object without the field
*/
