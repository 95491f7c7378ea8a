import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x
    const [value] = i < 16 ? [a.x.at(i)] : [a.x.at(i), a.x.at(0)]
    a.out.put(value!, i)
  },
)

/*
E0109  a run-time condition cannot choose between an array of 1 and an array of 2  test/errors/E0109-choice-of-arrays.ts:8:21
   7 │     const i = threadIdx.x
   8 │     const [value] = i < 16 ? [a.x.at(i)] : [a.x.at(i), a.x.at(0)]
     │                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  choose between numbers, or between arrays or objects of one shape
*/
