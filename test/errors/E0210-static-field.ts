import { type f32, type In, kernel, type Out, range, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const best = { index: -1 }
    for (const i of range(8)) {
      if (a.x.at(i) > 0) best.index = i
    }
    a.out.put(1, best.index)
  },
)

/*
E0210  'index' is the number -1 known while compiling, but is assigned under run-time control  test/errors/E0210-static-field.ts:9:26
   8 │     for (const i of range(8)) {
   9 │       if (a.x.at(i) > 0) best.index = i
     │                          ^^^^^^^^^^^^^^
     ├ with  best.index = -1
     └ help  declare it as a register: let index: i32 = -1, or write i32(-1) for a field
*/
