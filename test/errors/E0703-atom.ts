import { i32, kernel, mma, type Out, regs, threadIdx, u32 } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { out: Out<i32, 'N'> }) {
    const acc = regs(4, i32(0))
    const word = u32(threadIdx.x)
    mma('m16n8k32', acc, [word, word, word, word], [word, word])
    a.out.put(acc[0]!, threadIdx.x)
  },
)

/*
E0703  mma takes an atom first, not the string 'm16n8k32'  test/errors/E0703-atom.ts:9:9
   8 │     const word = u32(threadIdx.x)
   9 │     mma('m16n8k32', acc, [word, word, word, word], [word, word])
     │         ^^^^^^^^^^
     └ help  one of mma.m16n8k32.s8s8, mma.m16n8k32.u8s8, mma.m16n8k32.s8u8, mma.m16n8k32.u8u8, mma.m16n8k16.f16, mma.m16n8k16.bf16
*/
