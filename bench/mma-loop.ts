import type { Program } from '../codegen/program.ts'

/** Accumulators that a warp works on in turn, so that none waits for the one before. */
const chains = 8
/** Rounds of the loop: all chains once. */
const rounds = 256
const warps = 4

/** Multiply-accumulates of one CTA. */
export const mmaLoopProducts = 16 * 8 * 32 * chains * rounds * warps

const list = <T>(count: number, of: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => of(i))

/** A kernel that does nothing but `mma.m16n8k32` on bytes in registers, by hand: `out` gets what keeps it alive. */
export function mmaLoop(): Program {
  const accumulators = list(chains, (chain) => `{${list(4, (i) => `%c${4 * chain + i}`).join(', ')}}`)
  const ptx = `.version 7.0
.target sm_80
.address_size 64
.visible .entry mmaLoop(.param .u64 out, .param .s32 n)
{
  .reg .pred %p;
  .reg .b32 %r<4>, %a<4>, %b<2>, %c<${4 * chains}>;
  .reg .b64 %d<2>;
  mov.u32 %r0, %tid.x;
  mul.lo.s32 %a0, %r0, 0x1e3779b1;
  xor.b32 %a1, %a0, 0x2545f491;
  mul.lo.s32 %a2, %a1, 0x05ebca6b;
  xor.b32 %a3, %a2, 0x4f1bbcdc;
  mul.lo.s32 %b0, %a3, 0x42b2ae35;
  xor.b32 %b1, %b0, 0x27d4eb2f;
${list(4 * chains, (i) => `  mov.u32 %c${i}, ${i};`).join('\n')}
  mov.u32 %r1, 0;
loop:
${accumulators
  .map(
    (acc) =>
      `  mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 ${acc}, {%a0, %a1, %a2, %a3}, {%b0, %b1}, ${acc};`,
  )
  .join('\n')}
  add.s32 %r1, %r1, 1;
  setp.lt.s32 %p, %r1, ${rounds};
  @%p bra loop;
${list(4 * chains - 1, (i) => `  xor.b32 %c0, %c0, %c${i + 1};`).join('\n')}
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mad.lo.s32 %r2, %r2, %r3, %r0;
  mul.wide.s32 %d0, %r2, 4;
  ld.param.u64 %d1, [out];
  add.s64 %d0, %d0, %d1;
  st.global.b32 [%d0], %c0;
  ret;
}
`
  return {
    name: 'mmaLoop',
    target: 'sm_80',
    config: {},
    ptx,
    params: [
      {
        kind: 'tensor',
        name: 'out',
        dtype: 'i32',
        shape: ['N'],
        words: ['N'],
        tag: 'row',
        access: 'out',
        align: 4,
      },
      { kind: 'dim', name: 'N' },
    ],
    block: [32 * warps, 1, 1],
    cluster: 1,
    overlaps: false,
    sharedBytes: 0,
    sources: [],
  }
}
