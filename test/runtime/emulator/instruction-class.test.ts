import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { classify } from '../../../runtime/emulator/checks/instruction-class.ts'

test('each instruction counts in the class of the unit that does its work', () => {
  const table: Record<string, string> = {
    'ld.global.nc.v4.b32': 'global memory',
    'ld.shared::cta.b32': 'shared memory',
    'ld.param.u64': 'other memory',
    'cp.async.cg.shared.global': 'global memory',
    'cp.async.wait_group': 'synchronization',
    'red.global.add.f32': 'global memory',
    'fma.rn.f16x2': 'fp16',
    'add.s64': 'integer',
    'setp.lt.u32': 'integer',
    'and.pred': 'integer',
    'lop3.b32': 'integer',
    'cvt.rn.f16.f32': 'conversion',
    'ex2.approx.ftz.f32': 'special function',
    'shfl.sync.bfly.b32': 'shuffle',
    'bar.sync': 'synchronization',
    'wgmma.mma_async.sync.aligned.m64n8k32.s32.u8.s8': 'tensor',
    'wgmma.wait_group.sync.aligned': 'synchronization',
    'setmaxnreg.inc.sync.aligned.u32': 'synchronization',
    'stmatrix.sync.aligned.m8n8.x4.shared.b16': 'shared memory',
    bra: 'branch',
    'mov.b32': 'move',
  }
  for (const [opcode, want] of Object.entries(table)) assert.is(classify(opcode), want, opcode)
})

test.run()
