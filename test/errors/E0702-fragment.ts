import { i32, kernel, mma, type Out, regs, threadIdx, u32 } from '../../dsl/index.ts'

import { mma as atoms } from '../../dsl/atoms/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { out: Out<i32, 'N'> }) {
    const acc = regs(4, i32(0))
    const word = u32(threadIdx.x)
    mma(atoms.m16n8k32.u8s8, acc, [word, word], [word, word])
    a.out.put(acc[0]!, threadIdx.x)
  },
)

/*
E0702  m16n8k32.u8s8 takes A in 4 registers, and this is an array of 2  test/errors/E0702-fragment.ts:11:35
  10 │     const word = u32(threadIdx.x)
  11 │     mma(atoms.m16n8k32.u8s8, acc, [word, word], [word, word])
     │                                   ^^^^^^^^^^^^
     └ help  a lane's fragment of A is 4 u32 words
*/
