import type { Program } from '../../codegen/program.ts'
import type { TargetName } from '../../codegen/target.ts'

/**
 * `out[i] = x[i] + factor * y[i]` for i < N, written by hand: what the compiler would give for
 * `{ x: In<f32, 'N'>, y: In<f32, 'N'>, factor: f32, out: Out<f32, 'N'> }`, with 256 threads a CTA.
 */
export function vectorAdd(target: TargetName = 'sm_80', change: Partial<Program> = {}): Program {
  const tensor = { kind: 'tensor', dtype: 'f32', shape: ['N'], words: ['N'], tag: 'row', align: 4 } as const
  return {
    name: 'vectorAdd',
    target,
    config: {},
    ptx: vectorAddPtx(target),
    params: [
      { ...tensor, name: 'x', access: 'in' },
      { ...tensor, name: 'y', access: 'in' },
      { kind: 'scalar', name: 'factor', dtype: 'f32' },
      { ...tensor, name: 'out', access: 'out' },
      { kind: 'dim', name: 'N' },
    ],
    block: [256, 1, 1],
    cluster: 1,
    overlaps: false,
    sharedBytes: 0,
    sources: [{ path: '/kernels/vector-add.ts', sha256: '' }],
    ...change,
  }
}

/** The PTX; `extra` is a line put before the addition. */
export function vectorAddPtx(target: TargetName, extra = ''): string {
  return `.version 7.8
.target ${target}
.address_size 64
.file 1 "/kernels/vector-add.ts"
.visible .entry vectorAdd(
  .param .u64 p0, .param .u64 p1, .param .f32 p2, .param .u64 p3, .param .s32 p4
)
{
  .reg .pred %p<2>;
  .reg .b32 %r<6>;
  .reg .f32 %f<5>;
  .reg .b64 %d<8>;
  .loc 1 10 3
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mad.lo.s32 %r4, %r1, %r2, %r3;
  .loc 1 11 3
  ld.param.s32 %r5, [p4];
  setp.ge.s32 %p1, %r4, %r5;
  @%p1 bra done;
  .loc 1 12 5
  mul.wide.s32 %d1, %r4, 4;
  ld.param.u64 %d2, [p0];
  ld.param.u64 %d3, [p1];
  ld.param.u64 %d4, [p3];
  add.s64 %d5, %d2, %d1;
  add.s64 %d6, %d3, %d1;
  add.s64 %d7, %d4, %d1;
  ld.global.f32 %f1, [%d5];
  ld.global.f32 %f2, [%d6];
  ld.param.f32 %f3, [p2];
  ${extra}
  fma.rn.f32 %f4, %f2, %f3, %f1;
  st.global.f32 [%d7], %f4;
done:
  ret;
}
`
}
