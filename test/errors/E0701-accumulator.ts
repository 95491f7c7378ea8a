import { type f16, i32, kernel, mma, type Out, regs, threadIdx, u32 } from '../../dsl/index.ts'

import { mma as atoms } from '../../dsl/atoms/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { out: Out<i32, 'N'> }) {
    const acc = regs(4, i32(0))
    const word = u32(threadIdx.x)
    mma(atoms.m16n8k16.f16, acc, [word, word, word, word], [word, word])
    a.out.put(acc[0]!, threadIdx.x)
  },
)

/*
E0701  m16n8k16.f16 accumulates in 4 registers of f32, and this is an array of i32  test/errors/E0701-accumulator.ts:11:29
  10 │     const word = u32(threadIdx.x)
  11 │     mma(atoms.m16n8k16.f16, acc, [word, word, word, word], [word, word])
     │                             ^^^
     └ help  regs(4, f32(0))
*/
