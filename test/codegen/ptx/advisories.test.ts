import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { spilledBytes, spillsInLoops, wgmmaAdvisories, wgmmaFault } from '../../../codegen/ptx/advisories.ts'
import { vectorAdd } from '../../support/vector-add.ts'

/** What ptxas 13.0 and the driver say, with other names. */
const log = `ptxas info    : (C7519) warpgroup.arrive is injected in around line 12 by compiler to allow use of registers in GMMA in function 'gemm'
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient register resources for the wgmma pipeline in the function 'gemm'
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'gemm' for 'sm_90a'
    96 bytes stack frame, 92 bytes spill stores, 104 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers`

const ptx = `.version 8.4
.entry gemm()
{
  .loc 1 7 3
  wgmma.fence.sync.aligned;
  .loc 1 8 5
  wgmma.mma_async.sync.aligned.m64n8k32.s32.u8.s8 {%r1, %r2, %r3, %r4}, {%r5, %r6, %r7, %r8}, %rd1, %p1;
  .loc 1 9 5
  wgmma.commit_group.sync.aligned;
  .loc 1 10 3
  wgmma.wait_group.sync.aligned 0;
  .loc 1 11 4
  ret;
}`

test('every advisory against wgmmas is found, with the line of the PTX where it names one', () => {
  assert.equal(
    wgmmaAdvisories(log).map(({ code, line }) => [code, line]),
    [
      ['C7519', 12],
      ['C7510', undefined],
    ],
  )
  assert.equal(wgmmaAdvisories('ptxas info    : (C7602) Insufficient registers'), [])
})

test('the fault names the kernel, the advisory and the TypeScript lines', () => {
  const program = vectorAdd('sm_90a', { name: 'gemm', ptx, sources: [{ path: '/k.ts', sha256: '' }] })
  const fault = wgmmaFault(program, log)!
  assert.match(fault, 'kernel gemm')
  assert.match(fault, '(C7519)')
  assert.match(fault, 'first is at /k.ts:8')
  assert.match(fault, 'near /k.ts:11')
  assert.is(wgmmaFault(program, 'ptxas info    : 0 bytes gmem'), undefined)
})

test('spilled bytes are stores and loads together, of all functions', () => {
  assert.is(spilledBytes(log), 196)
  assert.is(spilledBytes(`${log}\n${log}`), 392)
})

test('spills are in a loop when a branch back encloses them, by labels and by addresses', () => {
  const byLabel = `
        /*0000*/                   STL [R1+0x4], R2 ;
.L_x_1:
	//## File "/k.ts", line 20
        /*0010*/                   LDL.64 R2, [R1+0x8] ;
        /*0020*/              @!P0 BRA \`(.L_x_2) ;
        /*0030*/               @P1 BRA \`(.L_x_1) ;
.L_x_2:
	//## File "/k.ts", line 30
        /*0040*/                   LDL R2, [R1] ;
        /*0050*/                   EXIT ;`
  assert.equal(spillsInLoops(byLabel), [{ instruction: 'LDL.64 R2, [R1+0x8]', location: '/k.ts:20' }])
  const byAddress = `
        /*0100*/                   LDL R2, [R1] ;                 /* 0x0000000001027983 */
        /*0110*/                   IMAD R2, R2, R3, R4 ;
        /*0120*/                   STL [R1], R2 ;
        /*0130*/               @P0 BRA.U 0x110 ;
        /*0140*/                   BRA 0x140 ;`
  assert.equal(spillsInLoops(byAddress), [{ instruction: 'STL [R1], R2', location: undefined }])
})

test.run()
