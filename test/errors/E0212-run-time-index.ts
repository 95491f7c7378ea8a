import { f32, type In, kernel, type Out, range, regs, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const sums = regs(4, f32(0))
    for (const i of range(4)) sums[i] = a.x.at(i)
    a.out.put(sums[0]!, threadIdx.x)
  },
)

/*
E0212  the index is an i32, and registers have no addresses  test/errors/E0212-run-time-index.ts:8:31
   7 │     const sums = regs(4, f32(0))
   8 │     for (const i of range(4)) sums[i] = a.x.at(i)
     │                               ^^^^^^^
     └ help  unroll the loop, for (const i of unroll(n)), or keep the array in shared memory
*/
