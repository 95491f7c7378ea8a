import { type f32, type In, kernel, type Out, range, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    let now = [a.x.at(0), a.x.at(1)]
    const next = [a.x.at(2), a.x.at(3)]
    for (const _ of range(8)) now = next
    a.out.put(now[0]!, threadIdx.x)
  },
)

/*
E0211  'now' is an array of 2, and which one it is cannot depend on a run-time condition  test/errors/E0211-other-array.ts:9:31
   8 │     const next = [a.x.at(2), a.x.at(3)]
   9 │     for (const _ of range(8)) now = next
     │                               ^^^^^^^^^^
     └ help  assign a new value of the same shape: x = [...y], or x = y.map(f)
*/
