import { type f32, type In, kernel, type Out, range, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    let count = 0
    for (const i of range(8)) {
      if (a.x.at(i) > 0) count += 1
    }
    a.out.put(count, threadIdx.x)
  },
)

/*
E0210  'count' is the number 0 known while compiling, but is assigned under run-time control  test/errors/E0210-static-counter.ts:9:26
   8 │     for (const i of range(8)) {
   9 │       if (a.x.at(i) > 0) count += 1
     │                          ^^^^^^^^^^
     ├ with  count = 0
     └ help  declare it as a register: let count: i32 = 0, or write i32(0) for a field
*/
