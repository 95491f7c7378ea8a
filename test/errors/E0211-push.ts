import { type f32, type In, kernel, type Out, range, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const found: f32[] = []
    for (const i of range(8)) found.push(a.x.at(i))
    a.out.put(found[0]!, threadIdx.x)
  },
)

/*
E0211  push changes the array's length under run-time control  test/errors/E0211-push.ts:8:31
   7 │     const found: f32[] = []
   8 │     for (const i of range(8)) found.push(a.x.at(i))
     │                               ^^^^^^^^^^^^^^^^^^^^^
     └ help  shapes are static: make the array with all its elements first, regs(n, init)
*/
